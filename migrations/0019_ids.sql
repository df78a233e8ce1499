-- As before, but in the order in which they were made within a millisecond, too: of the digits after the milliseconds the
-- first three are their fraction (a 4096th), 17 are random. The order of a conversation's events rests on it.
CREATE OR REPLACE FUNCTION new_id(prefix text) RETURNS text
    LANGUAGE sql VOLATILE PARALLEL SAFE
    RETURN prefix || '_' || lpad(to_hex((date_part('epoch', clock_timestamp()) * 4096000)::bigint), 15, '0')
        || overlay(gen_random_uuid()::text PLACING '' FROM 9 FOR 19);
