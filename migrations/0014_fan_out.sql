-- Which endpoint is owed which event, and in what form.
DO $$ BEGIN END $$;
