-- Of all that was submitted of the document: an ingestion that is begun again passes over what is ready and has not changed. Documents that
-- were submitted before have none.
ALTER TABLE documents ADD COLUMN content_hash TEXT;
