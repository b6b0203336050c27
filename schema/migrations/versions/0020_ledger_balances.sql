-- What each account has of each currency. Every assessment and every page asks for it, and the ledger only grows.
CREATE TABLE ledger_balances (
  account text NOT NULL,
  currency text NOT NULL,
  amount numeric(38, 18) NOT NULL,
  CONSTRAINT pk_ledger_balances PRIMARY KEY (account, currency)
)
--;
COMMENT ON COLUMN ledger_balances.amount IS 'sum of the ledger''s entries; kept by their triggers'
--;
-- Whoever writes entries holds the account lock, so nobody waits for a balance who did not wait before.
CREATE FUNCTION add_to_ledger_balances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO ledger_balances AS b
  SELECT account, currency, sum(amount) FROM added GROUP BY account, currency ORDER BY account, currency
  ON CONFLICT (account, currency) DO UPDATE SET amount = b.amount + excluded.amount;
  RETURN NULL;
END
$$
--;
CREATE FUNCTION take_from_ledger_balances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE ledger_balances b SET amount = b.amount - gone.amount
  FROM (SELECT account, currency, sum(amount) AS amount FROM removed GROUP BY account, currency) AS gone
  WHERE b.account = gone.account AND b.currency = gone.currency;
  RETURN NULL;
END
$$
--;
CREATE FUNCTION forget_ledger_balances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM ledger_balances;
  RETURN NULL;
END
$$
--;
CREATE TRIGGER entries_added AFTER INSERT ON ledger_entries
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION add_to_ledger_balances()
--;
-- The mesh only appends. What a person mends by hand is followed all the same.
CREATE TRIGGER entries_removed AFTER DELETE ON ledger_entries
  REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION take_from_ledger_balances()
--;
CREATE TRIGGER entries_changed_added AFTER UPDATE ON ledger_entries
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION add_to_ledger_balances()
--;
CREATE TRIGGER entries_changed_removed AFTER UPDATE ON ledger_entries
  REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION take_from_ledger_balances()
--;
CREATE TRIGGER entries_truncated AFTER TRUNCATE ON ledger_entries
  FOR EACH STATEMENT EXECUTE FUNCTION forget_ledger_balances()
--;
-- The triggers have locked the table against other writers until this is committed.
INSERT INTO ledger_balances SELECT account, currency, sum(amount) FROM ledger_entries GROUP BY account, currency
--;
CREATE OR REPLACE VIEW risk_cash AS
  SELECT currency, amount::numeric AS amount FROM ledger_balances WHERE account = 'exchange'
