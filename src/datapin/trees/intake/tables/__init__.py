"""Tables that come with files, CSV, JSON or Parquet, as typed columns."""
