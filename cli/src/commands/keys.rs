//! `keys`: makes keys, and says which ones this machine has; a private key is shown to nobody (X4).

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use comfy_table::Cell;
use serde_json::{Value, json};
use stem_core::ids::Digest;
use stem_core::manifest::SignaturePolicy;
use stem_core::names::KeyId;
use stem_core::signing::{PrivateKey, PublicKey, Purpose};

use crate::errors::Failure;
use crate::invocation::Invocation;
use crate::keys::{PRIVATE_KEYS, SigningSettings};
use crate::output::{Columns, Output};

/// What to do with keys
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Make a key: two files, one of which is to be kept secret
    Generate(GenerateArgs),
    /// The keys that this machine has, without the private ones themselves
    List,
    /// Whether the keys can be used: read, and tried on a signature
    Check,
}

/// Which key, and where it goes
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// A key that signs modules, and how
    #[arg(long, value_name = "ALGORITHM")]
    signing: SigningAlgorithm,
    /// What signatures call it [default: made from the key]
    #[arg(long)]
    id: Option<KeyId>,
    /// Where the files ID.private and ID.public are written [default: this directory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print both keys as variables instead: whoever sees the output has the private key
    #[arg(long, conflicts_with = "out")]
    stdout: bool,
}

/// How a key signs.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum SigningAlgorithm {
    /// A private key that signs, and a public one that verifies
    Ed25519,
}

/// Looks after keys.
pub fn run(verb: Verb, invocation: &Invocation) -> Result<()> {
    let (settings, output) = (&invocation.config.signing, &invocation.output);
    match verb {
        Verb::Generate(args) => generate(&args, output),
        Verb::List => list(settings, output),
        Verb::Check => check(settings, output),
    }
}

fn generate(args: &GenerateArgs, output: &Output) -> Result<()> {
    let SigningAlgorithm::Ed25519 = args.signing;
    let seed = rand::random();
    let id = match &args.id {
        Some(id) => id.clone(),
        None => named_after(seed)?,
    };
    let key = PrivateKey::from_seed(id, seed);
    if args.stdout {
        return print(&key, output);
    }
    let folder = args.out.clone().unwrap_or_default();
    let file = |end: &str| {
        folder.join(format!(
            "{}.{end}",
            key.id().as_str().replace(['/', ':'], "-")
        ))
    };
    let (private, public) = (file("private"), file("public"));
    make(&folder)?;
    save(&[
        (&private, key.reveal(), 0o600),
        (&public, key.public().to_string(), 0o644),
    ])?;
    if output.is_json {
        return output.json(&json!({
            "id": key.id(), "algorithm": "ed25519", "public_key": key.public().to_string(),
            "private_key_file": private, "public_key_file": public,
        }));
    }
    output.line(key.public())?;
    output.note(format!(
        "`{}` signs: keep it to yourself, and name it where modules are deployed (STEM_SIGNING_PRIVATE_KEYS_FILE)\n\
         `{}` verifies: name it where workers run (STEM_SIGNING_PUBLIC_KEYS_FILE)",
        private.display(),
        public.display(),
    ));
    Ok(())
}

/// An id that says nothing of the private key.
fn named_after(seed: [u8; 32]) -> Result<KeyId> {
    let unnamed = PrivateKey::from_seed(KeyId::new("key")?, seed);
    let digest = Digest::of(unnamed.public().to_string().as_bytes());
    Ok(KeyId::new(format!("key-{}", digest.short()))?)
}

fn print(key: &PrivateKey, output: &Output) -> Result<()> {
    let (private, public) = (key.reveal(), key.public().to_string());
    if output.is_json {
        return output.json(&json!({
            "id": key.id(), "algorithm": "ed25519", "public_key": public, "private_key": private,
        }));
    }
    output.line(format!("{PRIVATE_KEYS}={private}"))?;
    output.line(format!("STEM_SIGNING_PUBLIC_KEYS={public}"))
}

/// A new folder for keys is this user's alone; one that is there stays as it is.
fn make(folder: &Path) -> Result<()> {
    if folder.as_os_str().is_empty() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| {
        let attempted = format!("make the folder `{}`", folder.display());
        Failure::usage(attempted, error).into()
    })
}

/// A file that is to be made: where, with what in it, and for whom.
type NewFile<'a> = (&'a Path, String, u32);

/// Writes all of them or none: a key without its other half is good for nothing.
fn save(files: &[NewFile<'_>]) -> Result<()> {
    let mut made = Vec::new();
    let saved = write(files, &mut made);
    if saved.is_err() {
        for path in made {
            // What failed is what the person is told.
            let _ = std::fs::remove_file(path);
        }
    }
    saved
}

/// Makes every file before anything is written: a key that is there is never written over.
fn write<'a>(files: &'a [NewFile<'_>], made: &mut Vec<&'a Path>) -> Result<()> {
    let attempted = |path: &Path| format!("write the key `{}`", path.display());
    let mut open = Vec::new();
    for (path, text, mode) in files {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(*mode).open(path);
        let file = file.map_err(|error| not_made(attempted(path), &error))?;
        made.push(path);
        open.push((path, text, file));
    }
    for (path, text, mut file) in open {
        let written = writeln!(file, "{text}");
        written.map_err(|error| Failure::usage(attempted(path), error))?;
    }
    Ok(())
}

fn not_made(attempted: String, error: &std::io::Error) -> Failure {
    match error.kind() == ErrorKind::AlreadyExists {
        true => Failure::refused(
            attempted,
            "there is such a file: keys are never written over",
        )
        .hint("--id gives the new key another name, --out another folder"),
        false => Failure::usage(attempted, error),
    }
}

/// A key of this machine.
struct Known {
    key: PublicKey,
    is_private: bool,
    is_active: bool,
}

fn known(settings: &SigningSettings, output: &Output) -> Result<Vec<Known>> {
    let private = settings.private_keys()?;
    // Whoever is to name the active one looks here for its id.
    let active = settings.signer().unwrap_or_else(|error| {
        output.note(format!("warning: {error:#}"));
        None
    });
    let of = |key: PublicKey| Known {
        is_private: private.iter().any(|one| one.id() == key.id()),
        is_active: active.as_ref().is_some_and(|one| one.id() == key.id()),
        key,
    };
    Ok(settings.trusted()?.iter().map(of).collect())
}

fn list(settings: &SigningSettings, output: &Output) -> Result<()> {
    let columns = Columns {
        header: &["key", "algorithm", "can", "public key"],
        row: |known: &Known| {
            let public = known.key.to_string();
            let public = public.rsplit(':').next().unwrap_or_default().to_owned();
            let can = match (known.is_active, known.is_private) {
                (true, _) => "sign (active), verify",
                (false, true) => "sign, verify",
                (false, false) => "verify",
            };
            vec![
                Cell::new(known.key.id()),
                Cell::new("ed25519"),
                Cell::new(can),
                Cell::new(public),
            ]
        },
        none: "this machine has no signing key",
    };
    output.list(&known(settings, output)?, view, &columns)
}

fn view(known: &Known) -> Value {
    json!({
        "id": known.key.id(), "algorithm": "ed25519", "public_key": known.key.to_string(),
        "private": known.is_private, "active": known.is_active,
    })
}

fn check(settings: &SigningSettings, output: &Output) -> Result<()> {
    let policy = settings.policy()?;
    let signer = settings.signer()?;
    if let Some(key) = &signer {
        let bytes = b"a trial";
        let signature = key.sign(Purpose::Manifest, bytes);
        let verified = policy.keys.verify(Purpose::Manifest, bytes, &signature);
        verified.map_err(|error| Failure::refused("try the active key", error))?;
    }
    let signs = signer.as_ref().map(PrivateKey::id);
    let verifies: Vec<PublicKey> = policy.keys.iter().collect();
    let verifies: Vec<&KeyId> = verifies.iter().map(PublicKey::id).collect();
    if output.is_json {
        return output.json(&json!({
            "signs_with": signs, "verifies": verifies, "requires_signed_modules": policy.is_required,
        }));
    }
    let ids: Vec<&str> = verifies.iter().map(|id| id.as_str()).collect();
    output.details([
        (
            "deploy signs with",
            Cell::new(signs.map_or("nothing", KeyId::as_str)),
        ),
        ("workers accept", Cell::new(accepted(&ids, &policy))),
    ])
}

fn accepted(ids: &[&str], policy: &SignaturePolicy) -> String {
    match (ids.is_empty(), policy.is_required) {
        (true, _) => "every module: there are no keys to verify with".to_owned(),
        (false, true) => format!("modules signed with {}, and no others", ids.join(", ")),
        (false, false) => format!("modules signed with {}, and unsigned ones", ids.join(", ")),
    }
}
