-- Inbound hooks.
DO $$ BEGIN END $$;
