"""State in SQLAlchemy: tables, units of work, repositories."""
