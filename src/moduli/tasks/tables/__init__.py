"""Tables as tasks: CSV and Parquet files or DataFrames in, tensors and a saved preprocessing out.

Importing this package imports pandas; `import moduli.tasks` does not.
"""

from moduli.tasks.tables.load import load_tables
from moduli.tasks.tables.schema import TableSchema
from moduli.tasks.tables.spec import TableSpec

__all__ = ["TableSchema", "TableSpec", "load_tables"]
