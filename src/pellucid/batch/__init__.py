"""A whole corpus through a model: generated, scored and inspected, one Parquet row a document

job      what is computed of each document, and the columns that hold it
worker   a model that computes rows, many documents at a time
parts    the files of rows: there whole or not at all, so that a run that was killed goes on
run      in one process
ray      the same on a Ray cluster; only who computes a part is different
"""

from .job import Job
from .parts import Done
from .run import run

__all__ = ["Done", "Job", "run"]
