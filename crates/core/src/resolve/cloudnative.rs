//! Decides how a database runs that is CloudNativePG's.

use trading_api::{
    image::Image,
    postgres::{Postgres, PostgresMode, SslMode},
};

use super::{
    Context, backup, image_reference, pooler,
    postgres::{OWNER, SHARED_BUFFERS_SHARE, name, parameters, password, storage, wal_storage},
    preset,
    references::secret,
};
use crate::{
    inputs::Reference,
    plan::{
        CLUSTER_RO, CLUSTER_RW, DatabaseCluster, Host, Identity, POSTGRES, POSTGRES_PORT, PostgresPlan,
        ResourcesPlan,
    },
};

/// Where the images are that are made for CloudNativePG, and what follows the major version in their tags.
const REPOSITORY: &str = "ghcr.io/cloudnative-pg/postgresql";
const FLAVOUR: &str = "standard-trixie";

pub(super) fn resolve(context: &mut Context, postgres: &Postgres, major: i32) -> PostgresPlan {
    let database = name(context, "database", postgres.database.as_ref());
    let cluster = cluster(context, postgres, major);
    let pooler = pooler::resolve(context, postgres);
    let identity = context.identity;
    PostgresPlan {
        host: Host::Name(identity.child(CLUSTER_RW)),
        port: POSTGRES_PORT,
        database,
        // The servers' certificates name the servers' Services; the pooler has them too, and is called otherwise.
        ssl_mode: if pooler.is_some() { SslMode::VerifyCa } else { SslMode::VerifyFull },
        secret: cluster.password.secret.clone(),
        username_key: "username".to_owned(),
        password_key: cluster.password.key.clone(),
        cidrs: Vec::new(),
        read_only_host: (cluster.instances > 1).then(|| Host::Name(identity.child(CLUSTER_RO))),
        ca: Some((authority(identity), "ca.crt".to_owned())),
        servers: None,
        cluster: Some(cluster),
        pooler,
    }
}

/// The Secret that CloudNativePG makes with its certificate authority.
fn authority(identity: &Identity) -> String {
    format!("{}-ca", identity.child(POSTGRES))
}

impl Context<'_> {
    /// Whether CloudNativePG makes it, which takes a moment.
    pub(super) fn is_of_cnpg(&self, reference: &Reference) -> bool {
        let database = self.spec.postgres.as_ref();
        database.is_some_and(|database| database.mode == PostgresMode::CloudNativePG)
            && *reference == secret(self.identity.namespace_of(POSTGRES), &authority(self.identity))
    }
}

fn cluster(context: &mut Context, postgres: &Postgres, major: i32) -> DatabaseCluster {
    let resources = preset::resources(context, POSTGRES, postgres.resources.as_ref(), postgres.qos);
    DatabaseCluster {
        instances: context.fill("postgres.instances", postgres.instances.as_ref(), 1, "operator"),
        synchronous: postgres.synchronous.unwrap_or_default(),
        image: image(postgres.image.as_ref(), major),
        owner: name(context, "owner", postgres.owner.as_ref()),
        password: password(context, OWNER),
        parameters: parameters(context, postgres, shared_buffers(&resources)),
        resources,
        storage: storage(context, postgres.storage.as_ref()),
        wal_storage: wal_storage(postgres),
        backup: backup::resolve(context, postgres.qos),
        scheduling: postgres.scheduling.clone(),
    }
}

/// With a tag in any case: CloudNativePG reads the major version there.
fn image(given: Option<&Image>, major: i32) -> String {
    let default = Image { repository: REPOSITORY.to_owned(), tag: None, digest: None };
    let given = given.unwrap_or(&default);
    let (image, _) = image_reference(given, None, &format!("{major}-{FLAVOUR}"));
    match &given.digest {
        Some(digest) => format!("{}:{major}@{digest}", given.repository),
        None => image,
    }
}

/// CloudNativePG refuses more than what is requested.
fn shared_buffers(resources: &ResourcesPlan) -> f64 {
    let limit = resources.memory_limit.value().unwrap_or_default();
    let request = resources.memory_request.value().unwrap_or_default();
    (limit * SHARED_BUFFERS_SHARE).min(request)
}
