"""The column types and the metadata that every table shares."""

from sqlalchemy import DateTime, MetaData, Numeric
from sqlalchemy.dialects.postgresql import JSONB, UUID

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Money, sizes and prices: 20 digits before the point, 18 after it.
Amount = Numeric(38, 18)
Time = DateTime(timezone=True)
Id = UUID(as_uuid=True)
Json = JSONB
