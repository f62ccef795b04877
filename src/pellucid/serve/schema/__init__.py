"""What goes over the wire, typed: requests as pydantic models, answers as typed dicts."""
