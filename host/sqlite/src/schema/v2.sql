-- Version 2: what a version may do lies in its manifest, in the bytes that are signed; `tasks` has the names of those
-- that are its own. The manifests of the layout before are written by the program.
ALTER TABLE deployments ADD COLUMN manifest BLOB;
ALTER TABLE deployments ADD COLUMN signature BLOB;        -- none where it is not signed
ALTER TABLE deployments ADD COLUMN activated_at INTEGER;  -- none where it was only a canary
ALTER TABLE deployments ADD COLUMN canary INTEGER;        -- its share, in ten-thousandths
UPDATE deployments SET activated_at = deployed_at;

-- The module that an envelope is pinned to: its bytes are kept.
ALTER TABLE envelopes ADD COLUMN module BLOB;
CREATE INDEX envelopes_pinned ON envelopes (namespace, module) WHERE module IS NOT NULL;
