-- Knowledge: what a workspace's answers are drawn from, and the jobs that bring it in.

-- Loads the extension's library, so that the settings of its index are known to the functions below.
SELECT '[1]'::vector;

-- A named index. All its vectors come from one model; the counts are what BM25 needs.
CREATE TABLE collections (
    workspace_id text NOT NULL REFERENCES workspaces,
    collection_id text NOT NULL,
    name text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$'),
    model text NOT NULL,
    dimension integer NOT NULL,
    chunk_count bigint NOT NULL DEFAULT 0,
    term_count bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, collection_id),
    UNIQUE (workspace_id, name)
);
CALL protect('collections');

-- Where text came from: a file, a call, later a page.
CREATE TABLE sources (
    workspace_id text NOT NULL,
    source_id text NOT NULL,
    collection_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('text', 'file')),
    uri text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, source_id),
    UNIQUE (workspace_id, collection_id, uri),
    FOREIGN KEY (workspace_id, collection_id) REFERENCES collections ON DELETE CASCADE
);
CALL protect('sources');

CREATE TABLE documents (
    workspace_id text NOT NULL,
    document_id text NOT NULL,
    collection_id text NOT NULL,
    source_id text NOT NULL,
    external_id text NOT NULL,
    title text NOT NULL,
    content text NOT NULL,
    content_hash bytea NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, document_id),
    UNIQUE (workspace_id, collection_id, external_id),
    FOREIGN KEY (workspace_id, source_id) REFERENCES sources ON DELETE CASCADE
);
CREATE INDEX documents_by_source ON documents (workspace_id, source_id);
CALL protect('documents');

-- A job is its items; each is done when its document is searchable, in the same transaction.
CREATE TABLE ingest_jobs (
    workspace_id text NOT NULL,
    job_id text NOT NULL,
    collection_id text NOT NULL,
    status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    total integer NOT NULL,
    done integer NOT NULL DEFAULT 0,
    chunks integer NOT NULL DEFAULT 0,
    errors jsonb NOT NULL DEFAULT '[]',
    attempts integer NOT NULL DEFAULT 0,
    token text NOT NULL DEFAULT '',
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (workspace_id, job_id),
    FOREIGN KEY (workspace_id, collection_id) REFERENCES collections ON DELETE CASCADE
);
CREATE INDEX open_jobs ON ingest_jobs (lease_until) WHERE status IN ('queued', 'running');
CALL protect('ingest_jobs');

CREATE TABLE ingest_items (
    workspace_id text NOT NULL,
    job_id text NOT NULL,
    position integer NOT NULL,
    kind text NOT NULL,
    uri text NOT NULL,
    external_id text NOT NULL,
    title text NOT NULL,
    format text NOT NULL CHECK (format IN ('text', 'markdown', 'html')),
    content text NOT NULL,
    metadata jsonb NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace_id, job_id, position),
    FOREIGN KEY (workspace_id, job_id) REFERENCES ingest_jobs ON DELETE CASCADE
);
CALL protect('ingest_items');

-- Open jobs that nobody works on, this one or any. A lease outlives several batches; each batch renews it.
CREATE FUNCTION claim_jobs(wanted text, most integer, new_token text, lease_seconds double precision)
    RETURNS TABLE (workspace_id text, job_id text, collection_id text)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
BEGIN ATOMIC
    UPDATE ingest_jobs j
    SET status = 'running', token = new_token, attempts = j.attempts + 1,
        lease_until = now() + make_interval(secs => lease_seconds)
    FROM (SELECT o.workspace_id, o.job_id FROM ingest_jobs o
          WHERE o.status IN ('queued', 'running') AND o.lease_until < now() AND (wanted IS NULL OR o.job_id = wanted)
          ORDER BY o.lease_until, o.created_at LIMIT most FOR UPDATE SKIP LOCKED) due
    WHERE j.workspace_id = due.workspace_id AND j.job_id = due.job_id
    RETURNING j.workspace_id, j.job_id, j.collection_id;
END;

CREATE TABLE chunks (
    workspace_id text NOT NULL,
    chunk_id text NOT NULL,
    collection_id text NOT NULL,
    document_id text NOT NULL,
    position integer NOT NULL,
    heading text NOT NULL DEFAULT '',
    content text NOT NULL,
    char_start integer NOT NULL,
    char_end integer NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    search_vector tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('english', heading || E'\n' || content)) STORED,
    PRIMARY KEY (workspace_id, chunk_id),
    FOREIGN KEY (workspace_id, document_id) REFERENCES documents ON DELETE CASCADE
);
CALL protect('chunks');
CREATE INDEX chunks_by_document ON chunks (workspace_id, document_id, position);
-- The ids stand in the index as lexemes of their own ('@' begins no English lexeme), so one look-up intersects
-- tenant and words; there is no btree_gin in a plain installation.
CREATE INDEX chunks_words ON chunks USING gin
    ((search_vector || array_to_tsvector(ARRAY['@' || workspace_id, '@' || collection_id])))
    WITH (gin_pending_list_limit = 256);
CREATE INDEX chunks_metadata ON chunks USING gin (metadata jsonb_path_ops) WHERE metadata <> '{}';

-- Narrow on purpose: the exact search reads all of a workspace. Position 0 is the chunk as a whole and carries the BM25
-- impacts of its words; the others are its windows.
CREATE TABLE chunk_vectors (
    workspace_id text NOT NULL,
    chunk_id text NOT NULL,
    position smallint NOT NULL,
    collection_id text NOT NULL,
    document_id text NOT NULL,
    embedding halfvec NOT NULL,
    impacts sparsevec,
    PRIMARY KEY (workspace_id, chunk_id, position),
    FOREIGN KEY (workspace_id, chunk_id) REFERENCES chunks ON DELETE CASCADE,
    CHECK ((position = 0) = (impacts IS NOT NULL))
) WITH (toast_tuple_target = 8160);
ALTER TABLE chunk_vectors ALTER embedding SET STORAGE MAIN, ALTER impacts SET STORAGE MAIN;
CALL protect('chunk_vectors');
CREATE INDEX chunk_vectors_by_collection ON chunk_vectors (workspace_id, collection_id);
CREATE INDEX chunk_vectors_near_384 ON chunk_vectors USING hnsw ((embedding::halfvec(384)) halfvec_cosine_ops)
    WITH (m = 16, ef_construction = 64) WHERE vector_dims(embedding) = 384;

-- In how many chunks of a collection a lexeme stands.
CREATE TABLE lexicon (
    workspace_id text NOT NULL,
    lexeme text NOT NULL,
    collection_id text NOT NULL,
    df integer NOT NULL,
    PRIMARY KEY (workspace_id, lexeme, collection_id),
    FOREIGN KEY (workspace_id, collection_id) REFERENCES collections ON DELETE CASCADE
) WITH (fillfactor = 70);
CALL protect('lexicon', 'SELECT');

-- The dimension of a lexeme in a sparse vector: 28 bits of its MD5, the same on every server and in any language.
CREATE FUNCTION lexeme_dimension(lexeme text) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ('x' || left(md5(lexeme), 7))::bit(28)::integer + 1;

-- Okapi BM25 (Robertson and Zaragoza, 2009) without its idf, k1 2, b 0.75: what each lexeme adds when it is asked for.
CREATE FUNCTION bm25_impacts(words tsvector, mean_terms real) RETURNS sparsevec
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT ('{' || coalesce(string_agg(dimension || ':' || impact::text, ','), '') || '}/268435456')::sparsevec
    FROM (
        SELECT lexeme_dimension(lexeme) AS dimension,
            sum(tf * 3 / (tf + 2 * (0.25 + 0.75 * terms / mean_terms)))::real AS impact
        FROM (
            SELECT lexeme, cardinality(positions)::real AS tf, (sum(cardinality(positions)) OVER ())::real AS terms
            FROM unnest(words)
        ) AS counted
        GROUP BY 1
    ) AS dimensions;
END;

-- Keeps the counts that BM25 needs true to the chunks, whoever writes or cascades. Locking the collection first means
-- that two writers of one collection never touch its lexicon at the same time.
CREATE FUNCTION count_words() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    sign integer := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
    PERFORM FROM collections c
    WHERE (c.workspace_id, c.collection_id) IN (SELECT workspace_id, collection_id FROM changed)
    ORDER BY c.workspace_id, c.collection_id
    FOR NO KEY UPDATE;
    UPDATE collections c
    SET chunk_count = c.chunk_count + sign * n.chunks, term_count = c.term_count + sign * n.terms
    FROM (
        SELECT workspace_id, collection_id, count(*) AS chunks, sum(terms) AS terms
        FROM changed, LATERAL (SELECT coalesce(sum(cardinality(positions)), 0) AS terms FROM unnest(search_vector)) AS t
        GROUP BY 1, 2
    ) AS n
    WHERE c.workspace_id = n.workspace_id AND c.collection_id = n.collection_id;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO lexicon AS l (workspace_id, lexeme, collection_id, df)
        SELECT workspace_id, lexeme, collection_id, count(*) FROM changed, unnest(search_vector) GROUP BY 1, 2, 3
        ON CONFLICT (workspace_id, lexeme, collection_id) DO UPDATE SET df = l.df + excluded.df;
    ELSE
        WITH gone AS (
            SELECT workspace_id, lexeme, collection_id, count(*) AS df FROM changed, unnest(search_vector) GROUP BY 1, 2, 3
        ), unused AS (
            DELETE FROM lexicon l USING gone g
            WHERE (l.workspace_id, l.lexeme, l.collection_id) = (g.workspace_id, g.lexeme, g.collection_id) AND l.df <= g.df
        )
        UPDATE lexicon l SET df = l.df - g.df FROM gone g
        WHERE (l.workspace_id, l.lexeme, l.collection_id) = (g.workspace_id, g.lexeme, g.collection_id) AND l.df > g.df;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER chunks_counted AFTER INSERT ON chunks
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_words();
CREATE TRIGGER chunks_uncounted AFTER DELETE ON chunks
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_words();

CREATE FUNCTION quote_lexeme(lexeme text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN '''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''';

-- The query as a sparse vector: its inner product with a chunk's impacts is the chunk's weighted BM25 score. Null when
-- no word of the query is known. `words` are those that tell most, as a tsquery that matches `budget` chunks at most.
CREATE FUNCTION lexical_query(of_workspace text, of_collections text[], texts text[], weights real[], budget bigint,
                              OUT impacts sparsevec, OUT words tsquery)
    LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH size AS (
        SELECT coalesce(sum(chunk_count), 0)::real AS n FROM collections
        WHERE workspace_id = of_workspace AND (of_collections IS NULL OR collection_id = ANY (of_collections))
    ), asked AS (
        SELECT lexeme, sum(weight * cardinality(positions)) AS weight
        FROM unnest(texts, weights) AS t (body, weight), unnest(to_tsvector('english', left(body, 20000)))
        GROUP BY lexeme
    ), known AS (
        SELECT a.lexeme, found.df, (a.weight * ln(1 + (size.n - found.df + 0.5) / (found.df + 0.5)))::real AS impact
        FROM asked a CROSS JOIN size CROSS JOIN LATERAL (
            SELECT sum(l.df)::real AS df FROM lexicon l
            WHERE l.workspace_id = of_workspace AND l.lexeme = a.lexeme
                AND (of_collections IS NULL OR l.collection_id = ANY (of_collections))
        ) AS found
        WHERE found.df > 0
    ), ranked AS (
        SELECT lexeme, sum(df) OVER (ORDER BY impact DESC, lexeme) AS reach FROM known
    )
    SELECT
        (SELECT ('{' || string_agg(dimension || ':' || impact::text, ',') || '}/268435456')::sparsevec
         FROM (SELECT lexeme_dimension(lexeme) AS dimension, sum(impact)::real AS impact FROM known GROUP BY 1) AS d),
        (SELECT string_agg(quote_lexeme(lexeme), '|')::tsquery FROM ranked WHERE reach <= budget);
END;

CREATE TYPE chunk_scores AS (chunk_id text, document_id text, dense real, bm25 real);

-- Every chunk of the scope, scored on both sides in one pass. No ORDER BY with LIMIT on a distance: the planner
-- would take the HNSW index and return a fraction of a small workspace.
CREATE FUNCTION score_all_chunks(of_workspace text, of_collections text[], meaning halfvec, words sparsevec, filter jsonb)
    RETURNS SETOF chunk_scores
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT chunk_id, min(document_id),
        coalesce((max(dense) FILTER (WHERE position = 0)
            + coalesce(max(dense) FILTER (WHERE position > 0), max(dense))) / 2, 0)::real,
        coalesce(max(bm25), 0)::real
    FROM (
        SELECT v.chunk_id, v.document_id, v.position, -(v.impacts <#> words) AS bm25,
            CASE WHEN vector_dims(v.embedding) = vector_dims(meaning) THEN -(v.embedding <#> meaning) END AS dense
        FROM chunk_vectors v
        WHERE v.workspace_id = of_workspace AND (of_collections IS NULL OR v.collection_id = ANY (of_collections))
            AND (filter IS NULL OR v.chunk_id IN (
                SELECT c.chunk_id FROM chunks c
                WHERE c.workspace_id = of_workspace AND c.metadata @> filter AND c.metadata <> '{}'))
        OFFSET 0
    ) AS scored
    GROUP BY chunk_id;
END;

-- A large scope: the nearest 200 views by HNSW and the best 200 chunks by words, each scored on both sides.
-- Built as text, because the number of dimensions must stand in the query for its index to be found.
CREATE FUNCTION score_candidates(of_workspace text, of_collections text[], meaning halfvec, words sparsevec, wanted tsquery)
    RETURNS SETOF chunk_scores
    LANGUAGE plpgsql STABLE SET search_path = public, pg_temp
    SET hnsw.iterative_scan = 'relaxed_order' SET hnsw.ef_search = 200 SET hnsw.max_scan_tuples = 100000
    SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY EXECUTE format($query$
        WITH near AS MATERIALIZED (
            SELECT v.chunk_id FROM chunk_vectors v
            WHERE v.workspace_id = $1 AND ($2 IS NULL OR v.collection_id = ANY ($2)) AND vector_dims(v.embedding) = %1$s
                AND $3 IS NOT NULL
            ORDER BY v.embedding::halfvec(%1$s) <=> $3::halfvec(%1$s)
            LIMIT 200
        ), matching AS MATERIALIZED (
            SELECT v.chunk_id
            FROM chunks c JOIN chunk_vectors v ON (v.workspace_id, v.chunk_id, v.position) = ($1, c.chunk_id, 0)
            WHERE (c.search_vector || array_to_tsvector(ARRAY['@' || c.workspace_id, '@' || c.collection_id]))
                    @@ (quote_lexeme('@' || $1)::tsquery && $5)
                AND c.workspace_id = $1 AND ($2 IS NULL OR c.collection_id = ANY ($2))
            ORDER BY v.impacts <#> $4
            LIMIT 200
        )
        SELECT chunk_id, min(document_id),
            coalesce((max(dense) FILTER (WHERE position = 0)
                + coalesce(max(dense) FILTER (WHERE position > 0), max(dense))) / 2, 0)::real,
            coalesce(max(bm25), 0)::real
        FROM (
            SELECT v.chunk_id, v.document_id, v.position, -(v.impacts <#> $4) AS bm25,
                CASE WHEN vector_dims(v.embedding) = %1$s THEN -(v.embedding <#> $3) END AS dense
            FROM (SELECT chunk_id FROM near UNION SELECT chunk_id FROM matching) AS found
            JOIN chunk_vectors v ON v.workspace_id = $1 AND v.chunk_id = found.chunk_id
            OFFSET 0
        ) AS scored
        GROUP BY chunk_id
    $query$, coalesce(vector_dims(meaning), 384)) USING of_workspace, of_collections, meaning, words, wanted;
END $$;

-- Whether it is cheaper to read the whole scope: n chunks, against the walk that HNSW needs to meet 200 views of a
-- tenant who owns n of N. Measured: 4 us a chunk (six views), 3 us a step. A filter always reads.
CREATE FUNCTION reads_all(of_workspace text, of_collections text[]) RETURNS boolean
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT n < 2000 OR n * n < 150 * (SELECT greatest(reltuples, 0)::float8 FROM pg_class WHERE oid = 'chunks'::regclass)
    FROM (
        SELECT coalesce(sum(chunk_count), 0)::float8 AS n FROM collections
        WHERE workspace_id = of_workspace AND (of_collections IS NULL OR collection_id = ANY (of_collections))
    ) AS scope;
END;

-- Hybrid search: the weighted sum of BM25 and cosine, each divided by its maximum. `meaning` is the unit vector of the
-- query, or null to search by words alone; `exact` null lets the cheaper way win.
-- Runs as the owner, because under row security `@@` could not use its index; hence the check.
CREATE FUNCTION search_chunks(of_workspace text, of_collections text[], texts text[], weights real[], meaning halfvec,
                              alpha real, wanted integer, by_document boolean DEFAULT false, filter jsonb DEFAULT NULL,
                              exact boolean DEFAULT NULL)
    RETURNS TABLE (chunk_id text, document_id text, external_id text, title text, heading text, content text,
                   char_start integer, char_end integer, score real, dense_score real, bm25_score real, metadata jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    query record;
    needed jsonb := nullif(filter, '{}');
    everything boolean := needed IS NOT NULL OR coalesce(exact, reads_all(of_workspace, of_collections));
BEGIN
    IF of_workspace IS DISTINCT FROM current_workspace() THEN
        RAISE insufficient_privilege USING MESSAGE = 'search_chunks: not the current workspace';
    END IF;
    SELECT * INTO query FROM lexical_query(of_workspace, of_collections, texts, weights, 2000);
    RETURN QUERY
    WITH scored AS MATERIALIZED (
        SELECT * FROM score_all_chunks(of_workspace, of_collections, meaning, query.impacts, needed) WHERE everything
        UNION ALL
        SELECT * FROM score_candidates(of_workspace, of_collections, meaning, query.impacts, query.words)
        WHERE NOT everything
    ), best AS (
        SELECT greatest(max(dense), 1e-6) AS dense, greatest(max(bm25), 1e-6) AS bm25 FROM scored
    ), fused AS (
        SELECT s.*, ((1 - alpha) * s.bm25 / best.bm25 + alpha * s.dense / best.dense)::real AS score
        FROM scored s CROSS JOIN best
    ), ranked AS (
        SELECT f.*, CASE WHEN by_document
            THEN row_number() OVER (PARTITION BY f.document_id ORDER BY f.score DESC, f.chunk_id) ELSE 1 END AS place
        FROM fused f
    ), top AS (
        SELECT * FROM ranked WHERE place = 1 ORDER BY score DESC, chunk_id LIMIT wanted
    )
    SELECT t.chunk_id, t.document_id, d.external_id, d.title, c.heading, c.content, c.char_start, c.char_end,
        t.score, t.dense, t.bm25, c.metadata
    FROM top t  -- LIMIT 1 keeps the few look-ups look-ups, whatever the planner believes of their number
    CROSS JOIN LATERAL (
        SELECT * FROM chunks WHERE workspace_id = of_workspace AND chunk_id = t.chunk_id LIMIT 1) AS c
    CROSS JOIN LATERAL (
        SELECT * FROM documents WHERE workspace_id = of_workspace AND document_id = t.document_id LIMIT 1) AS d
    ORDER BY t.score DESC, t.chunk_id;
END $$;

-- Chunks of one collection and their vectors, in parallel arrays. Old chunks of a document are deleted before by
-- `DELETE FROM chunks WHERE workspace_id = $1 AND document_id = ANY ($2)`.
CREATE FUNCTION store_chunks(of_workspace text, of_collection text, chunk_ids text[], document_ids text[], positions integer[],
                             headings text[], contents text[], starts integer[], ends integer[], metadatas jsonb[],
                             vector_chunks text[], vector_positions smallint[], vectors halfvec[])
    RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    mean_terms real;
BEGIN
    INSERT INTO chunks (workspace_id, chunk_id, collection_id, document_id, position, heading, content, char_start, char_end, metadata)
    SELECT of_workspace, chunk_id, of_collection, document_id, position, heading, content, char_start, char_end, metadata
    FROM unnest(chunk_ids, document_ids, positions, headings, contents, starts, ends, metadatas)
        AS t (chunk_id, document_id, position, heading, content, char_start, char_end, metadata);
    SELECT greatest(term_count, 1)::real / greatest(chunk_count, 1) INTO mean_terms FROM collections
    WHERE workspace_id = of_workspace AND collection_id = of_collection;
    INSERT INTO chunk_vectors (workspace_id, chunk_id, position, collection_id, document_id, embedding, impacts)
    SELECT of_workspace, v.chunk_id, v.position, of_collection, c.document_id, v.embedding,
        CASE v.position WHEN 0 THEN bm25_impacts(c.search_vector, mean_terms) END
    FROM unnest(vector_chunks, vector_positions, vectors) AS v (chunk_id, position, embedding)
    JOIN chunks c ON c.workspace_id = of_workspace AND c.chunk_id = v.chunk_id;
END $$;
