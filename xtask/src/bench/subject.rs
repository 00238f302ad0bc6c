//! The platform that is measured: that of the example, as production runs it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use serde::de::DeserializeOwned;
use trading_api::TradingPlatform;
use trading_core::inputs::Inputs;
use trading_core::object::Object;
use trading_core::render::render;
use trading_core::resolve::resolve;

use crate::repo;

const EXAMPLE: &str = "examples/tradewizard/base";

/// The platform, and the Secret that it needs beforehand.
pub struct Subject {
    platform: TradingPlatform,
    secret: Secret,
}

impl Subject {
    /// Reads it.
    pub fn load() -> Result<Self> {
        Ok(Self {
            platform: read(&format!("{EXAMPLE}/platform.yaml"))?,
            secret: read(&format!("{EXAMPLE}/database-credentials.yaml"))?,
        })
    }

    /// The platform in a namespace.
    pub fn platform(&self, namespace: &str) -> TradingPlatform {
        let mut platform = self.platform.clone();
        platform.metadata.namespace = Some(namespace.to_owned());
        platform
    }

    /// The Secret in a namespace.
    pub fn secret(&self, namespace: &str) -> Secret {
        let mut secret = self.secret.clone();
        secret.metadata.namespace = Some(namespace.to_owned());
        secret
    }

    /// The objects that the platform becomes in a namespace of a cluster without add-ons.
    pub fn objects(&self, namespace: &str) -> Vec<Object> {
        let mut platform = self.platform(namespace);
        // Owner references need one, though nobody has it.
        platform.metadata.uid = Some("00000000-0000-0000-0000-000000000000".to_owned());
        let mut objects = render(&resolve(&platform, &Inputs::offline(Timestamp::UNIX_EPOCH)));
        objects.retain(|object| object.kind.info().add_on.is_none());
        objects
    }

    /// How many objects it becomes.
    pub fn children(&self) -> usize {
        self.objects("any").len()
    }

    /// How many of them an autoscaler takes over, which costs a write more.
    pub fn autoscaled(&self) -> usize {
        self.objects("any").iter().filter(|object| object.seed_replicas.is_some()).count()
    }

    /// How many of which kind, as kubectl names kinds.
    pub fn kinds(&self) -> BTreeMap<&'static str, usize> {
        let mut kinds = BTreeMap::new();
        for object in self.objects("any") {
            *kinds.entry(object.kind.info().plural).or_default() += 1;
        }
        kinds
    }
}

/// Reads one resource from a file of the repository.
pub fn read<T: DeserializeOwned>(name: &str) -> Result<T> {
    let path = repo::path(name);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_yaml::from_str(&text).with_context(|| format!("{} is something else", path.display()))
}
