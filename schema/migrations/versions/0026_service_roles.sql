-- Rights keep the services from it; this keeps the owner of the database from doing it by mistake.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% of % is refused: its rows stay as they were written', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation',
      HINT = format('To mend rows by hand: ALTER TABLE %I DISABLE TRIGGER append_only, and ENABLE it in the same transaction.',
        TG_TABLE_NAME);
END
$$
