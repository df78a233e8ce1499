-- Claims, breakers, limits and order.
DO $$ BEGIN END $$;
