"""A whole corpus through a model: generated, scored and inspected, one Parquet row a document

documents  files, folders and globs -> documents, each with an id
job        what is computed of each, and the columns that hold it
worker     a model that computes rows, many documents at a time
parts      the files of rows: there whole or not at all, so that a run that was killed goes on
loop       in one process
ray        the same on a Ray cluster; only who computes a part is different
"""

from .documents import Reading
from .job import Job
from .loop import run
from .parts import Done

__all__ = ["Done", "Job", "Reading", "run"]
