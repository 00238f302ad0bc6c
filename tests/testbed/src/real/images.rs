//! The images of real nodes' pods, made here: there is no registry. Each becomes an archive in the form of
//! `docker save`, which containerd imports.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::node::PAUSE_IMAGE;
use crate::cargo::cargo;
use crate::go::lock;
use crate::progress::Progress;
use crate::release::cache_root;

/// Debian's Postgres 15 in the layout of Debian's own packages; user 999.
pub const POSTGRES_IMAGE: &str = "testbed.local/postgres:15";
/// Debian's Redis 7.0; user 999.
pub const REDIS_IMAGE: &str = "testbed.local/redis:7.0";
/// The same programs where the official image for Alpine has them, and no bash; user 70.
pub const POSTGRES_ALPINE_IMAGE: &str = "testbed.local/postgres:15-alpine";
/// The same image by another name.
pub const POSTGRES_NEXT_ALPINE_IMAGE: &str = "testbed.local/postgres:15-alpine3.22";
/// The same of Redis; user 999.
pub const REDIS_ALPINE_IMAGE: &str = "testbed.local/redis:7.0-alpine";
/// Stands in for applications; there are the tags 1.0.0 and 1.1.0, and it says which one it is.
pub const STANDIN_IMAGE: &str = "testbed.local/standin";

const STANDIN_VERSIONS: [&str; 2] = ["1.0.0", "1.1.0"];

const STORES_SCRIPT: &str = include_str!("stores.sh");
const STORES: &str = "stores.tar";
/// Debian's own links leave the versioned folder out.
const STORES_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin";
const ALPINE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Archives to import on every node.
#[derive(Debug)]
pub struct Images {
    archives: Vec<PathBuf>,
    // The ones that are not cached.
    _dir: TempDir,
}

impl Images {
    /// Makes the data stores', the operator's and the stand-in's. Only the first is cached, by the script
    /// that makes it; cargo knows whether the others are fresh.
    ///
    /// # Errors
    /// When one can't be made.
    pub fn make() -> Result<Self> {
        super::prepare()?;
        let dir = tempfile::Builder::new().prefix("trading-images-").tempdir()?;
        let (operator, program) = (dir.path().join("operator.tar"), dir.path().join("standin"));
        let status = cargo()
            .args(["xtask", "image", "--quick", "--output"])
            .arg(&operator)
            .arg("--stand-in")
            .arg(&program)
            .stdout(Stdio::null())
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "cargo xtask image: {status}");
        let archives =
            vec![stores()?, operator, standin(&program, dir.path())?, pause(&program, dir.path())?];
        Ok(Self { archives, _dir: dir })
    }

    pub(super) fn archives(&self) -> &[PathBuf] {
        &self.archives
    }
}

/// An image.
struct Image<'a> {
    /// The lowest first.
    layers: Vec<&'a Path>,
    names: Vec<String>,
    config: Value,
}

/// Where programs are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Debian,
    Alpine,
}

/// Names, layouts and settings of the data stores' images. As the official one does, Postgres' asks to be stopped
/// by the signal that ends sessions instead of waiting for them.
fn store_settings() -> [(Vec<&'static str>, Layout, Value); 4] {
    let path = format!("PATH={STORES_PATH}");
    // The official images begin as root, where nobody chooses a user.
    let alpine = format!("PATH={ALPINE_PATH}");
    [
        (
            vec![POSTGRES_IMAGE],
            Layout::Debian,
            json!({ "Env": [path], "User": "999", "StopSignal": "SIGINT" }),
        ),
        (vec![REDIS_IMAGE], Layout::Debian, json!({ "Env": [path], "User": "999" })),
        (
            vec![POSTGRES_ALPINE_IMAGE, POSTGRES_NEXT_ALPINE_IMAGE],
            Layout::Alpine,
            json!({ "Env": [alpine], "StopSignal": "SIGINT" }),
        ),
        (vec![REDIS_ALPINE_IMAGE], Layout::Alpine, json!({ "Env": [alpine] })),
    ]
}

fn stores_dir() -> Result<PathBuf> {
    let mut hash = Sha256::new();
    hash.update(STORES_SCRIPT);
    for (names, _, config) in store_settings() {
        hash.update(serde_json::to_vec(&(names, config))?);
    }
    let key = hexadecimal(&hash.finalize().as_slice()[..8]);
    Ok(cache_root()?.join("images").join(key))
}

fn stores() -> Result<PathBuf> {
    let dir = stores_dir()?;
    let archive = dir.join(STORES);
    if archive.is_file() {
        return Ok(archive);
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let _lock = lock(&dir)?;
    // Another run may have made it while we waited for the lock.
    if !archive.is_file() {
        make_stores(&dir, &archive)?;
    }
    Ok(archive)
}

fn make_stores(dir: &Path, archive: &Path) -> Result<()> {
    let progress = Progress::start("making the data stores' image from Debian's packages (about 2 min)");
    let work = tempfile::Builder::new().prefix("stores-").tempdir_in(dir)?;
    let (layer, alpine) = (work.path().join("layer.tar"), work.path().join("alpine.tar"));
    let output = Command::new("sh")
        .args(["-c", STORES_SCRIPT, "stores.sh"])
        .args([work.path(), &layer, &alpine])
        .stdin(Stdio::null())
        .output()
        .context("cannot run sh")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let log = fs::read_to_string(work.path().join("debootstrap.log")).unwrap_or_default();
        let log: Vec<_> = log.lines().rev().take(5).collect();
        anyhow::bail!("the data stores' image: {}: {}\n{}", output.status, said.trim(), log.join("\n"));
    }
    let images = store_settings().map(|(names, layout, config)| {
        let layers = match layout {
            Layout::Debian => vec![layer.as_path()],
            Layout::Alpine => vec![layer.as_path(), &alpine],
        };
        Image { layers, names: names.into_iter().map(ToOwned::to_owned).collect(), config }
    });
    // Whole or not at all.
    let unfinished = work.path().join(STORES);
    write_archive(&unfinished, &images)?;
    fs::rename(&unfinished, archive)?;
    progress.done();
    Ok(())
}

fn standin(program: &Path, dir: &Path) -> Result<PathBuf> {
    let layer = program_layer(program, dir)?;
    let images = STANDIN_VERSIONS.map(|version| Image {
        layers: vec![&layer],
        names: vec![format!("{STANDIN_IMAGE}:{version}")],
        config: json!({
            "Entrypoint": ["/standin"],
            "Env": [format!("STANDIN_VERSION={version}")],
            "User": "65532:65532",
        }),
    });
    let archive = dir.join("standin.tar");
    write_archive(&archive, &images)?;
    Ok(archive)
}

/// The same program, which does nothing then but wait.
fn pause(program: &Path, dir: &Path) -> Result<PathBuf> {
    let layer = program_layer(program, dir)?;
    let config = json!({ "Entrypoint": ["/standin", "pause"], "User": "65535:65535" });
    let archive = dir.join("pause.tar");
    write_archive(&archive, &[Image { layers: vec![&layer], names: vec![PAUSE_IMAGE.to_owned()], config }])?;
    Ok(archive)
}

fn program_layer(program: &Path, dir: &Path) -> Result<PathBuf> {
    let content = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let path = dir.join("program-layer.tar");
    let mut builder = Builder::new(File::create(&path)?);
    append(&mut builder, "standin", &content, 0o755)?;
    builder.into_inner()?;
    Ok(path)
}

/// An archive as `docker save` makes it. Images share their layers.
fn write_archive(path: &Path, images: &[Image]) -> Result<()> {
    let mut builder =
        Builder::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?);
    let mut manifest = Vec::new();
    let mut written: BTreeMap<&Path, String> = BTreeMap::new();
    for image in images {
        for layer in &image.layers {
            if !written.contains_key(layer) {
                let digest = digest(layer)?;
                builder.append_path_with_name(layer, format!("{digest}.tar"))?;
                written.insert(layer, digest);
            }
        }
        let digests: Vec<&String> = image.layers.iter().filter_map(|layer| written.get(layer)).collect();
        let named = |prefix: &str, suffix: &str| -> Vec<String> {
            digests.iter().map(|digest| format!("{prefix}{digest}{suffix}")).collect()
        };
        let config = serde_json::to_vec(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": image.config,
            "rootfs": { "type": "layers", "diff_ids": named("sha256:", "") },
        }))?;
        let config_name = format!("{}.json", hexadecimal(&Sha256::digest(&config)));
        append(&mut builder, &config_name, &config, 0o644)?;
        manifest.push(json!({ "Config": config_name, "RepoTags": image.names, "Layers": named("", ".tar") }));
    }
    append(&mut builder, "manifest.json", &serde_json::to_vec(&manifest)?, 0o644)?;
    builder.into_inner()?;
    Ok(())
}

fn append(builder: &mut Builder<File>, name: &str, content: &[u8], mode: u32) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_size(u64::try_from(content.len())?);
    Ok(builder.append_data(&mut header, name, content)?)
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn digest(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(hexadecimal(&hash.finalize())),
            Ok(length) => hash.update(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_holds_each_layer_once_and_what_the_manifest_names() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let program = dir.path().join("program");
        fs::write(&program, "content")?;
        let archive = standin(&program, dir.path())?;
        let mut entries = Vec::new();
        let mut manifest = Value::Null;
        for entry in tar::Archive::new(File::open(archive)?).entries()? {
            let entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            if name == "manifest.json" {
                manifest = serde_json::from_reader(entry)?;
            }
            entries.push(name);
        }
        let images = manifest.as_array().context("no list")?;
        assert_eq!(images.len(), 2);
        assert_eq!(images[1]["RepoTags"], json!(["testbed.local/standin:1.1.0"]));
        let count = |value: &Value| entries.iter().filter(|name| value == *name).count();
        for image in images {
            assert_eq!((count(&image["Config"]), count(&image["Layers"][0])), (1, 1), "{image}");
        }
        Ok(())
    }
}
