from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Side(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIDE_UNSPECIFIED: _ClassVar[Side]
    SIDE_BUY: _ClassVar[Side]
    SIDE_SELL: _ClassVar[Side]

class Granularity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GRANULARITY_UNSPECIFIED: _ClassVar[Granularity]
    GRANULARITY_ONE_MINUTE: _ClassVar[Granularity]
    GRANULARITY_FIVE_MINUTE: _ClassVar[Granularity]
    GRANULARITY_FIFTEEN_MINUTE: _ClassVar[Granularity]
    GRANULARITY_ONE_HOUR: _ClassVar[Granularity]
    GRANULARITY_ONE_DAY: _ClassVar[Granularity]

class DecisionProfile(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_PROFILE_UNSPECIFIED: _ClassVar[DecisionProfile]
    DECISION_PROFILE_EVIDENCE: _ClassVar[DecisionProfile]
    DECISION_PROFILE_EXERCISE: _ClassVar[DecisionProfile]

class Venue(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VENUE_UNSPECIFIED: _ClassVar[Venue]
    VENUE_SIMULATED: _ClassVar[Venue]
    VENUE_REPLAY: _ClassVar[Venue]
    VENUE_PAPER: _ClassVar[Venue]
    VENUE_SANDBOX: _ClassVar[Venue]
    VENUE_LIVE: _ClassVar[Venue]
SIDE_UNSPECIFIED: Side
SIDE_BUY: Side
SIDE_SELL: Side
GRANULARITY_UNSPECIFIED: Granularity
GRANULARITY_ONE_MINUTE: Granularity
GRANULARITY_FIVE_MINUTE: Granularity
GRANULARITY_FIFTEEN_MINUTE: Granularity
GRANULARITY_ONE_HOUR: Granularity
GRANULARITY_ONE_DAY: Granularity
DECISION_PROFILE_UNSPECIFIED: DecisionProfile
DECISION_PROFILE_EVIDENCE: DecisionProfile
DECISION_PROFILE_EXERCISE: DecisionProfile
VENUE_UNSPECIFIED: Venue
VENUE_SIMULATED: Venue
VENUE_REPLAY: Venue
VENUE_PAPER: Venue
VENUE_SANDBOX: Venue
VENUE_LIVE: Venue

class Reason(_message.Message):
    __slots__ = ("code", "limit", "observed", "unit", "scope")
    CODE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    code: str
    limit: str
    observed: str
    unit: str
    scope: str
    def __init__(self, code: _Optional[str] = ..., limit: _Optional[str] = ..., observed: _Optional[str] = ..., unit: _Optional[str] = ..., scope: _Optional[str] = ...) -> None: ...
