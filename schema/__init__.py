"""The database: tables, views and SQL functions, one owner each, and the migrations that make them."""
