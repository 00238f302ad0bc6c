//! The archive: an OCI layout that containerd and podman read, with the one file more that `docker load`
//! reads.

use std::collections::HashMap;
use std::fmt::Write;

use anyhow::{Result, ensure};
use oci_spec::image::{
    ANNOTATION_LICENSES, ANNOTATION_REF_NAME, ANNOTATION_TITLE, ANNOTATION_VERSION, Arch, ConfigBuilder,
    Descriptor, DescriptorBuilder, Digest, ImageConfigurationBuilder, ImageIndexBuilder,
    ImageManifestBuilder, MediaType, OciLayoutBuilder, Os, PlatformBuilder, RootFsBuilder,
};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::layer;

const NAME: &str = "trading-platform-operator";

/// By which containerd knows the image afterwards; the kubelet completes short names in the same way.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// As the chart runs it; known to no image's list of users.
const USER: &str = "65532:65532";

/// The name under which the image is found once it is loaded.
pub fn name() -> String {
    format!("{NAME}:{}", env!("CARGO_PKG_VERSION"))
}

/// The parts of the image.
pub struct Image {
    layer: Blob,
    config: Blob,
    manifest: Blob,
    index: Vec<u8>,
}

struct Blob {
    media_type: MediaType,
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(media_type: MediaType, content: Vec<u8>) -> Self {
        Self { media_type, digest: sha256(&content), content }
    }

    fn descriptor(&self) -> Result<Descriptor> {
        let digest: Digest = self.digest.parse()?;
        Ok(Descriptor::new(self.media_type.clone(), u64::try_from(self.content.len())?, digest))
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }
}

impl Image {
    /// An image of these files, whose first one is the program that it runs.
    pub fn of(files: &[(&str, Vec<u8>)]) -> Result<Self> {
        ensure!(!files.is_empty(), "an image of nothing");
        let (tar, compressed) = layer::layer(files)?;
        let layer = Blob::new(MediaType::ImageLayerGzip, compressed);
        let config = Blob::new(MediaType::ImageConfig, config(files[0].0, &tar)?);
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(config.descriptor()?)
            .layers([layer.descriptor()?])
            .build()?;
        let manifest = Blob::new(MediaType::ImageManifest, json(&manifest)?);
        let index = index(&manifest)?;
        Ok(Self { layer, config, manifest, index })
    }

    /// The digest of the manifest, which is that of the image.
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// The archive.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let layout = json(&OciLayoutBuilder::default().image_layout_version("1.0.0").build()?)?;
        let (config, manifest, layer) = (self.config.path(), self.manifest.path(), self.layer.path());
        let docker = json(&json!([{ "Config": config, "RepoTags": [name()], "Layers": [layer] }]))?;
        let files: [(&str, &[u8]); 6] = [
            ("oci-layout", &layout),
            ("index.json", &self.index),
            ("manifest.json", &docker),
            (&config, &self.config.content),
            (&manifest, &self.manifest.content),
            (&layer, &self.layer.content),
        ];
        layer::tar(files, 0o644)
    }
}

fn config(program: &str, layer: &[u8]) -> Result<Vec<u8>> {
    let labels = [
        (ANNOTATION_TITLE, NAME),
        (ANNOTATION_VERSION, env!("CARGO_PKG_VERSION")),
        (ANNOTATION_LICENSES, env!("CARGO_PKG_LICENSE")),
    ];
    let runtime = ConfigBuilder::default()
        .user(USER)
        .entrypoint([format!("/{program}")])
        .exposed_ports(["8080/tcp".to_owned()])
        .working_dir("/")
        .labels(labels.map(|(key, value)| (key.to_owned(), value.to_owned())))
        .build()?;
    let layers = RootFsBuilder::default().typ("layers").diff_ids([sha256(layer)]).build()?;
    let config = ImageConfigurationBuilder::default()
        .architecture(Arch::default())
        .os(Os::Linux)
        .config(runtime)
        .rootfs(layers)
        .build()?;
    json(&config)
}

fn index(manifest: &Blob) -> Result<Vec<u8>> {
    let annotations: HashMap<_, _> = [
        (CONTAINERD_NAME.to_owned(), format!("docker.io/library/{}", name())),
        (ANNOTATION_REF_NAME.to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ]
    .into();
    let described = manifest.descriptor()?;
    let descriptor = DescriptorBuilder::default()
        .media_type(described.media_type().clone())
        .digest(described.digest().clone())
        .size(described.size())
        .platform(PlatformBuilder::default().architecture(Arch::default()).os(Os::Linux).build()?)
        .annotations(annotations)
        .build()?;
    let index = ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests([descriptor])
        .build()?;
    json(&index)
}

/// JSON with sorted keys: maps come in random order otherwise, and the digest with them.
fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut value = serde_json::to_value(value)?;
    value.sort_all_objects();
    Ok(serde_json::to_vec(&value)?)
}

fn sha256(content: &[u8]) -> String {
    let mut digest = "sha256:".to_owned();
    for byte in Sha256::digest(content) {
        // Writing to a String can't fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use flate2::read::GzDecoder;
    use serde_json::Value;

    use super::*;

    type Files = BTreeMap<String, (u32, Vec<u8>)>;

    fn unpack(tar: &[u8]) -> Result<Files> {
        let mut files = Files::new();
        for entry in tar::Archive::new(tar).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.to_string_lossy().into_owned();
            assert_eq!((entry.header().mtime()?, entry.header().uid()?), (0, 0), "{path}");
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            files.insert(path, (entry.header().mode()?, content));
        }
        Ok(files)
    }

    /// The blob that a descriptor promises.
    fn follow<'a>(files: &'a Files, descriptor: &Value) -> &'a [u8] {
        let digest = descriptor["digest"].as_str().expect("a digest");
        let (_, content) = &files[&format!("blobs/{}", digest.replace(':', "/"))];
        assert_eq!(sha256(content), digest);
        assert_eq!(descriptor["size"], content.len());
        content
    }

    fn files() -> Vec<(&'static str, Vec<u8>)> {
        vec![("trading-operator", vec![7; 5000]), ("trading-agent", b"agent".to_vec())]
    }

    #[test]
    fn everything_in_the_archive_is_what_its_descriptor_says() -> Result<()> {
        let image = Image::of(&files())?;
        let archive = unpack(&image.archive()?)?;
        assert_eq!(archive["oci-layout"].1, br#"{"imageLayoutVersion":"1.0.0"}"#);

        let index: Value = serde_json::from_slice(&archive["index.json"].1)?;
        let descriptor = &index["manifests"][0];
        let full = format!("docker.io/library/{}", name());
        assert_eq!(descriptor["annotations"][CONTAINERD_NAME], full);
        assert_eq!(descriptor["digest"], image.digest());

        let manifest: Value = serde_json::from_slice(follow(&archive, descriptor))?;
        let config: Value = serde_json::from_slice(follow(&archive, &manifest["config"]))?;
        assert_eq!(config["config"]["User"], USER);
        assert_eq!(config["config"]["Entrypoint"], json!(["/trading-operator"]));

        let mut layer = Vec::new();
        GzDecoder::new(follow(&archive, &manifest["layers"][0])).read_to_end(&mut layer)?;
        assert_eq!(config["rootfs"]["diff_ids"], json!([sha256(&layer)]));
        let inside: Vec<_> = unpack(&layer)?.into_iter().collect();
        let expected = files().into_iter().map(|(name, content)| (name.to_owned(), (0o755, content)));
        assert_eq!(inside, expected.rev().collect::<Vec<_>>());
        Ok(())
    }

    #[test]
    fn docker_finds_the_same_blobs() -> Result<()> {
        let image = Image::of(&files())?;
        let archive = unpack(&image.archive()?)?;
        let docker: Value = serde_json::from_slice(&archive["manifest.json"].1)?;
        assert_eq!(docker[0]["RepoTags"], json!([name()]));
        assert_eq!(docker[0]["Config"], image.config.path());
        assert_eq!(docker[0]["Layers"], json!([image.layer.path()]));
        assert!(archive.contains_key(&image.config.path()) && archive.contains_key(&image.layer.path()));
        Ok(())
    }

    #[test]
    fn the_same_files_make_the_same_archive() -> Result<()> {
        let archive = Image::of(&files())?.archive()?;
        for _ in 0..8 {
            assert!(Image::of(&files())?.archive()? == archive);
        }
        Ok(())
    }
}
