-- Where deliveries, attempts and events lie, and for how long.
DO $$ BEGIN END $$;
