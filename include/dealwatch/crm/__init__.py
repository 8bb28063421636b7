"""Ask: read a CRM's records and yield them as they are; this room stores nothing."""
