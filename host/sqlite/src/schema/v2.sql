-- What a deployment gives its module; none in deployments of the layout before.
ALTER TABLE deployments ADD COLUMN grants BLOB;
