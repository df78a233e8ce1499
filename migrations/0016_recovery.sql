-- Bulk work on deliveries.
DO $$ BEGIN END $$;
