"""One file for each group of routes: a function that makes its router for a service."""
