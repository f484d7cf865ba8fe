"""Alembic's migrations of the city's database. `README.md` of the application says how to add one."""
