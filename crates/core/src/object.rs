//! A rendered object, ready to be compared and applied.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use trading_api::labels;

use crate::{digest, inputs::Reference, kinds::Kind};

/// Stands for the random password in a generated Secret.
pub const PASSWORD: &str = "{password}";

/// Whether an object goes when its platform goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It carries an owner reference; Kubernetes deletes it with the platform.
    Platform,
    /// It belongs to a data store: no owner reference, so that not even a foreground deletion
    /// takes it away before the finalizer does.
    Store,
}

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The name of an object.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// How an object's content comes to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of it is in the body.
    Rendered,
    /// The body says which keys of a Secret are copied from another.
    CopiedFrom {
        /// Which.
        original: Reference,
        /// The original has all keys now.
        is_there: bool,
    },
    /// The body has the keys of a Secret, whose values are keys of others.
    CollectedFrom {
        /// Of each key, which Secret and which key there.
        originals: BTreeMap<String, (Reference, String)>,
        /// All of them may be asked for.
        is_there: bool,
    },
    /// These keys of a Secret are made with it, and never touched again. Each value is a text in
    /// which [`PASSWORD`] stands for one random password.
    GeneratedOnce(BTreeMap<String, String>),
    /// These keys of a Secret get a random password each, once. Keys that are there stay as they are.
    AddedOnce(
        /// By key, whether it is there now.
        BTreeMap<String, bool>,
    ),
    /// A Secret gets an authority, once, and a certificate of it, which is renewed.
    Certified {
        /// Names that the certificate is for.
        names: Vec<String>,
        /// Whether it has all keys now.
        is_whole: bool,
        /// The time.
        now: Timestamp,
    },
    /// The body says which keys of a Secret are filled in. Each value is a text in which [`PASSWORD`] stands for
    /// the value of a key of another Secret.
    FilledFrom {
        /// Which Secret.
        original: Reference,
        /// Which key.
        key: String,
        /// The original has it now.
        is_there: bool,
        /// By key.
        texts: BTreeMap<String, String>,
    },
}

/// A password that a person has chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// For this key.
    pub key: String,
    /// Which Secret has it.
    pub original: Reference,
    /// Under which key.
    pub from: String,
    /// It has it now.
    pub is_there: bool,
}

/// A rendered object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Component or store that it belongs to; empty for the platform's own.
    pub component: String,
    /// When it goes.
    pub lifetime: Lifetime,
    /// How its content comes to be.
    pub content: Content,
    /// Where a key that is generated has its password instead, and which key that is.
    pub chosen: Option<Chosen>,
    /// Replicas to start with, where an autoscaler owns them afterwards.
    pub seed_replicas: Option<i32>,
    /// The document to apply, its digest included.
    pub body: Arc<Value>,
    /// Digest of the document.
    pub digest: String,
}

/// The document with its digest among the annotations, and the digest.
fn stamped(mut body: Value) -> (Arc<Value>, String) {
    let digest = digest::of(&body);
    body["metadata"]["annotations"][labels::APPLIED] = json!(digest);
    (Arc::new(body), digest)
}

impl Object {
    /// Takes a typed Kubernetes object whose metadata is complete.
    #[must_use]
    pub fn new(kind: Kind, component: &str, lifetime: Lifetime, typed: &impl Serialize) -> Self {
        // Kubernetes' types have string keys only and always serialize.
        let mut body = serde_json::to_value(typed).unwrap_or_default();
        body["apiVersion"] = json!(kind.api_version());
        body["kind"] = json!(kind.to_string());
        let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let (body, digest) = stamped(body);
        Self {
            kind,
            namespace,
            name,
            component: component.to_owned(),
            lifetime,
            content: Content::Rendered,
            chosen: None,
            seed_replicas: None,
            body,
            digest,
        }
    }

    /// The same object with a document that differs.
    #[must_use]
    pub(crate) fn with(&self, change: impl FnOnce(&mut Value)) -> Self {
        let mut body = Value::clone(&self.body);
        if let Some(metadata) = body["metadata"].as_object_mut()
            && let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut)
        {
            annotations.remove(labels::APPLIED);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
        change(&mut body);
        let (body, digest) = stamped(body);
        Self { body, digest, ..self.clone() }
    }

    /// Its name among all.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.kind, self.namespace.clone(), self.name.clone())
    }

    /// The document, to be changed.
    pub fn body_mut(&mut self) -> &mut Value {
        Arc::make_mut(&mut self.body)
    }

    /// The document alone.
    #[must_use]
    pub fn into_body(self) -> Value {
        Arc::unwrap_or_clone(self.body)
    }

    /// Says that these keys of this Secret are generated once.
    #[must_use]
    pub fn generated_once<const N: usize>(mut self, keys: [(&str, String); N]) -> Self {
        self.content = Content::GeneratedOnce(keys.map(|(key, text)| (key.to_owned(), text)).into());
        self
    }

    /// Says with how many replicas an autoscaled workload starts.
    #[must_use]
    pub fn seeded(mut self, replicas: Option<i32>) -> Self {
        self.seed_replicas = replicas;
        self
    }
}
