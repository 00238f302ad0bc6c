//! Stage three, pure: from what is wished and what is live to what is done next.

mod blocked;
mod bucket;
mod prune;
mod unmade;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use trading_api::{deletion::Store, labels};

pub use self::unmade::waits_for;
use self::{blocked::blocked_stores, bucket::without_bucket, prune::prune};
use crate::{
    add_ons,
    certificate::Certificate,
    credentials::{self, Stage},
    fields,
    growth::{self, Growth, Resized},
    kinds::Kind,
    object::{Content, Key, Lifetime, Object},
    plan::{Identity, POOLER, POSTGRES, Plan, REDIS, SENTINEL, STORES, store_of},
    preflight,
    problem::Problem,
    redis_password,
    resolve::{component::UNREACHABLE, references::MISSING},
    status::workload::{Autoscaler, Hibernation, Workload},
    storage::{Volumes, volumes},
    tls::{self, Level},
    told::{self, Told},
};

/// A live object of the operator's, as far as it matters.
#[derive(Clone, Debug)]
pub struct Child {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Name of the platform on its label.
    pub platform: String,
    /// Namespace of the platform: on its label, or its own.
    pub home: String,
    /// UID of the platform on its label.
    pub platform_uid: String,
    /// Component on its label.
    pub component: String,
    /// It carries no owner reference.
    pub is_store: bool,
    /// It is a Secret that was copied from another namespace.
    pub is_copy: bool,
    /// Topology on its label, for a data store.
    pub store_mode: Option<String>,
    /// Digest of what was last applied.
    pub digest: Option<String>,
    /// Which fields are the operator's.
    pub ownership: Ownership,
    /// Whether `spec.replicas` is the operator's, and whether somebody else has it too.
    pub replicas: ReplicasOwnership,
    /// It is being deleted.
    pub deleting: bool,
    /// State of its pods, for Deployments and `StatefulSets`.
    pub workload: Option<Workload>,
    /// State of scaling, for autoscalers.
    pub autoscaler: Option<Autoscaler>,
    /// Who holds it, for the Lease of a database.
    pub holder: Option<String>,
    /// What the primary says in it.
    pub told: Option<Told>,
    /// How far TLS is, for the servers of a database.
    pub tls: Option<Level>,
    /// What is known of the certificate, for a Secret with one.
    pub certificate: Option<Certificate>,
    /// When it was made, for an `ObjectStore`.
    pub made: Option<Timestamp>,
}

impl Child {
    /// Its name among all.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.kind, self.namespace.clone(), self.name.clone())
    }

    /// It belongs to a platform of this name.
    #[must_use]
    pub fn is_of(&self, platform: &Identity) -> bool {
        self.platform == platform.name && self.home == platform.namespace
    }

    /// It is the servers of a data store.
    #[must_use]
    pub fn serves_data(&self) -> bool {
        self.kind.serves_data() && self.is_store
    }

    /// Whether it was asked to stop around its volumes, and how far that is.
    #[must_use]
    pub fn hibernation(&self) -> Hibernation {
        self.workload.as_ref().map(|workload| workload.hibernation).unwrap_or_default()
    }

    /// Its volumes go with it, so that it is stopped instead where they are to stay.
    #[must_use]
    pub fn takes_volumes_along(&self) -> bool {
        self.kind == Kind::Cluster
    }

    /// The bucket that it names.
    fn archive(&self) -> Option<&String> {
        self.workload.as_ref()?.backups.bucket.as_ref()
    }

    /// One of these archives to it. CloudNativePG leaves a database alone, whatever becomes of it, that names a
    /// bucket that is not there.
    #[must_use]
    pub fn is_archived_to<'a>(&self, others: impl IntoIterator<Item = &'a Self>) -> bool {
        let archives = |other: &Self| {
            (&other.namespace, &other.component) == (&self.namespace, &self.component)
                && other.archive() == Some(&self.name)
        };
        self.kind == Kind::ObjectStore && others.into_iter().any(archives)
    }

    /// It lives in another namespace than its platform, where nothing has an owner.
    #[must_use]
    pub fn is_abroad(&self) -> bool {
        self.namespace != self.home
    }
}

/// Which fields of an object the operator owns.
#[derive(Clone, Debug)]
pub enum Ownership {
    /// All of the document with this digest.
    Verified(String),
    /// These: the text of a `FieldsV1`, which takes a tenth of the memory of the value.
    Fields(Arc<str>),
}

impl Ownership {
    /// Whether every field of the object is still the operator's.
    fn is_complete_for(&self, object: &Object) -> bool {
        match self {
            Self::Verified(digest) => *digest == object.digest,
            Self::Fields(fields) => serde_json::from_str(fields)
                .is_ok_and(|fields| fields::cover(&fields, &fields::tracked(&object.body))),
        }
    }
}

/// Who owns `spec.replicas`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicasOwnership {
    /// The operator, with the rest of the object.
    pub ours: bool,
    /// Somebody else: the autoscaler, or the operator's second field manager.
    pub others: bool,
}

/// What is live of a platform.
pub type Observed = BTreeMap<Key, Child>;

/// How `spec.replicas` is treated when an object is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// As the document has it, or the kind has none.
    AsRendered,
    /// An autoscaler's from now on, and the object is new: it starts with so many. They stay the
    /// operator's until the autoscaler writes another number and so takes them.
    Seed(i32),
    /// An autoscaler's, which has not taken them yet: the live number is written again, because
    /// leaving it out would make it 1. Where somebody scales at this moment, a second field manager
    /// takes the live number over before the operator lets go.
    Keep(i32),
}

/// An object to apply.
#[derive(Clone, Debug)]
pub struct Apply {
    /// What.
    pub object: Object,
    /// It is known to be the operator's: fields that others took are taken back.
    pub known: bool,
    /// What happens to `spec.replicas`.
    pub replicas: Replicas,
    /// Its certificate is to be made.
    pub certifies: bool,
}

/// An object to delete, if it is still the one that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Which.
    pub key: Key,
    /// UID.
    pub uid: String,
}

impl From<&Child> for Prune {
    fn from(child: &Child) -> Self {
        Self { key: child.key(), uid: child.uid.clone() }
    }
}

/// What is done next, in this order.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    /// Autoscalers that go before their targets get a fixed number of replicas, or another autoscaler:
    /// KEDA refuses a target that has one.
    pub prune_first: Vec<Prune>,
    /// Objects that are new, changed or drifted.
    pub apply: Vec<Apply>,
    /// Data stores whose volumes grow.
    pub grow: Vec<Growth>,
    /// Databases that stop around their volumes, which stay.
    pub hibernate: Vec<Prune>,
    /// Objects that are no longer wished.
    pub prune: Vec<Prune>,
    /// Namespaces and names of stores whose volumes are to be removed with them.
    pub delete_claims_of: Vec<(String, String)>,
    /// Objects that are as they should be.
    pub unchanged: Vec<Key>,
    /// Objects that wait for something.
    pub held: Vec<Key>,
    /// Why.
    pub problems: Vec<Problem>,
    /// What it waits for, where old pods of a store are to be replaced, by its name among components.
    pub replacing: BTreeMap<&'static str, String>,
    /// Why pods are not ready although there was time enough.
    pub hindered: Vec<Problem>,
    /// Objects of add-ons are wished.
    pub needs_add_ons: bool,
    /// What is known of the volumes, where there are some.
    pub volumes: Option<Volumes>,
    /// How far a change of the login to the database is, where there was one.
    pub login: Option<Stage>,
    /// How far a change of Redis' password is, where there was one.
    pub redis_password: Option<redis_password::Stage>,
    /// How far TLS to the database is, where everybody has to use it or had to.
    pub tls: Option<tls::Stage>,
    /// When the next certificate is to be renewed.
    pub renewal: Option<Timestamp>,
    /// What is applied now lets something else be done at once.
    pub goes_on: bool,
}

/// Compares what is wished with what is live.
#[must_use]
pub fn steps(plan: &Plan, desired: &[Object], observed: &Observed) -> Steps {
    let mut steps = Steps::default();
    let waiting: BTreeSet<&str> = plan
        .problems
        .iter()
        .filter(|problem| matches!(problem.reason, MISSING | UNREACHABLE))
        .filter_map(|problem| problem.component.as_deref())
        .collect();
    let blocked_stores = blocked_stores(plan, observed, &mut steps);
    let mut left_out = Vec::new();
    let refusing = refusing(plan);
    let leaves_pooler = leaves_pooler(plan, desired, observed);
    steps.needs_add_ons = desired.iter().any(|object| object.kind.info().add_on.is_some());

    for object in desired {
        let key = object.key();
        if !plan.capabilities.serves(object.kind) {
            left_out.push(object);
            steps.held.push(key);
            continue;
        }
        let child = observed.get(&key);
        let is_workload = matches!(object.kind, Kind::Deployment | Kind::DaemonSet)
            || object.kind.serves_data()
            || object.kind.scales();
        let is_blocked = store_of(&object.component).is_some_and(|store| {
            // What stands for a store outside may not replace one that was not given up.
            let is_kept = !plan.runs(store)
                && !plan.acknowledged.contains(&store)
                && still_runs(plan, observed, name_of(store));
            is_kept || object.lifetime == Lifetime::Store && blocked_stores.contains(&store)
        });
        // The Sentinels wait for what Redis waits for.
        let awaited = if object.component == SENTINEL { REDIS } else { object.component.as_str() };
        let waits = is_workload && waiting.contains(awaited);
        let is_not_allowed = refusing.contains(object.namespace.as_str())
            || object.kind == Kind::DaemonSet && plan.runtime.as_ref().is_some_and(|it| !it.allowed);
        // Who still comes by way of the old pooler is let through.
        let is_kept_open = leaves_pooler
            && object.kind == Kind::NetworkPolicy
            && (object.component == POSTGRES || credentials::is_client(plan, &object.component));
        // Nothing is read in a namespace that does not allow it.
        let lacks_original = matches!(
            &object.content,
            Content::CopiedFrom { original, is_there } | Content::FilledFrom { original, is_there, .. }
                if !is_there || refusing.contains(original.namespace.as_str())
        ) || object.chosen.as_ref().is_some_and(|chosen| !chosen.is_there)
            || matches!(&object.content, Content::CollectedFrom { is_there: false, .. });
        if waits
            || is_not_allowed
            || lacks_original
            || is_kept_open
            || is_blocked
            || child.is_some_and(|c| c.deleting)
        {
            steps.held.push(key);
            continue;
        }
        if let Some(other) = child.filter(|child| !child.is_of(&plan.identity)) {
            steps.problems.push(name_taken(object, other));
            steps.held.push(key);
            continue;
        }
        let resized = child.and_then(|child| growth::resized(plan, object, child));
        let object = resized.as_ref().map_or(object, |resized| &resized.object);
        if let Some(Resized { growth, problem, .. }) = &resized {
            steps.grow.extend(growth.clone());
            steps.problems.extend(problem.clone());
        }
        let bare = without_bucket(&plan.identity, object, child, observed);
        // Buckets come before clusters.
        let is_made = |apply: &Apply| apply.object.kind == Kind::ObjectStore;
        steps.goes_on |= bare.is_some() && steps.apply.iter().any(is_made);
        let object = bare.as_ref().unwrap_or(object);
        match decide(object, child) {
            Some(replicas) => {
                let (object, known, certifies) = (object.clone(), child.is_some(), is_due(object, child));
                steps.apply.push(Apply { object, known, replicas, certifies });
            }
            None => steps.unchanged.push(key),
        }
    }
    steps.problems.extend(add_ons::missing(left_out));
    steps.problems.extend(refusing.into_iter().map(|namespace| refused(plan, namespace)));
    steps.problems.extend(preflight::problems(plan, desired));
    steps.volumes = plan.storage_classes.as_ref().and_then(|classes| volumes(desired, classes));
    steps.problems.extend(steps.volumes.iter().flat_map(|volumes| volumes.problems.clone()));
    steps.problems.extend(told::problem(plan, observed));
    steps.login = credentials::stage(plan, desired, observed);
    let may_roll = !blocked_stores.contains(&Store::Postgres);
    steps.tls = may_roll.then(|| tls::stage(plan, desired, observed)).flatten();
    steps.renewal = renewal(desired, observed);
    let may_change = !blocked_stores.contains(&Store::Redis);
    steps.redis_password = may_change.then(|| redis_password::stage(plan, desired, observed)).flatten();
    prune(plan, desired, observed, &blocked_stores, leaves_pooler, &mut steps);
    steps
}

/// When the first certificate of those that are there is to be renewed.
fn renewal(desired: &[Object], observed: &Observed) -> Option<Timestamp> {
    let certified = desired.iter().filter(|object| matches!(object.content, Content::Certified { .. }));
    certified.filter_map(|object| Some(observed.get(&object.key())?.certificate.as_ref()?.renew)).min()
}

/// There is to be no pooler any more, and some clients have not been replaced yet by such as go without.
fn leaves_pooler(plan: &Plan, desired: &[Object], observed: &Observed) -> bool {
    let Some(database) = plan.postgres.as_ref().filter(|database| database.pooler.is_none()) else {
        return false;
    };
    let runs = |child: &Child| child.component == POOLER && child.is_of(&plan.identity);
    database.service().is_some()
        && observed.values().any(runs)
        && credentials::clients_roll(plan, desired, observed)
}

/// Namespaces of tiers that don't allow this platform.
fn refusing(plan: &Plan) -> BTreeSet<&str> {
    let Some(allowing) = &plan.allowing else { return BTreeSet::new() };
    let others = plan.identity.namespaces().into_iter().skip(1);
    others.filter(|namespace| !allowing.contains(*namespace)).collect()
}

fn refused(plan: &Plan, namespace: &str) -> Problem {
    let Identity { name, namespace: own, tiers, .. } = &plan.identity;
    let of = |tier: &(&String, &String)| tier.1 == namespace;
    let components: Vec<&str> = tiers.iter().filter(of).map(|(component, _)| component.as_str()).collect();
    let message = format!(
        "namespace {namespace:?}, where {} should live, does not exist or does not allow this platform: create it, and let its owner run: kubectl label namespace {namespace} {}={own}.{name}",
        components.join(", "),
        labels::ALLOWS
    );
    // One of them waits visibly, where it is the only one.
    match components.as_slice() {
        [component] => Problem::of(component, "TierNotAllowed", message),
        _ => Problem::whole("TierNotAllowed", message),
    }
}

/// How to apply the object, or `None` where it is as it should be.
fn decide(object: &Object, child: Option<&Child>) -> Option<Replicas> {
    let Some(child) = child else {
        return Some(object.seed_replicas.map_or(Replicas::AsRendered, Replicas::Seed));
    };
    let same = child.digest.as_deref() == Some(&object.digest);
    let complete = match &object.content {
        Content::Certified { .. } => !is_due(object, Some(child)) && child.ownership.is_complete_for(object),
        // Generated keys belong to the creation, so ownership says nothing there.
        Content::GeneratedOnce(_) => true,
        Content::AddedOnce(keys) => keys.values().all(|is_there| *is_there),
        Content::Rendered
        | Content::CopiedFrom { .. }
        | Content::CollectedFrom { .. }
        | Content::FilledFrom { .. } => child.ownership.is_complete_for(object),
    };
    (!(same && complete)).then(|| replicas_of(object, child))
}

/// Whether its certificate is to be made or renewed.
fn is_due(object: &Object, child: Option<&Child>) -> bool {
    let Content::Certified { names, is_whole, now } = &object.content else { return false };
    let known = child.and_then(|child| child.certificate.as_ref());
    !is_whole || known.is_none_or(|certificate| certificate.is_due(names, *now))
}

fn replicas_of(object: &Object, child: &Child) -> Replicas {
    let only_ours = child.replicas.ours && !child.replicas.others;
    match object.seed_replicas.filter(|_| only_ours) {
        // The fewest where the live number is not known: left out, it would be 1.
        Some(fewest) => Replicas::Keep(child.workload.as_ref().map_or(fewest, |workload| workload.desired)),
        None => Replicas::AsRendered,
    }
}

fn name_taken(object: &Object, other: &Child) -> Problem {
    Problem {
        reason: "NameTaken",
        component: Some(object.component.clone()).filter(|name| !name.is_empty()),
        message: format!(
            "{} {:?} belongs to platform {:?} of the same namespace: rename one of the two platforms or the component",
            object.kind, object.name, other.platform
        ),
        warning: false,
    }
}

/// Whether servers of this store are live.
fn still_runs(plan: &Plan, observed: &Observed, store: &str) -> bool {
    servers(&plan.identity, observed, store).is_some()
}

/// The servers of a store wherever they run: a resource that no longer has it does not tell.
pub(crate) fn servers<'a>(platform: &Identity, observed: &'a Observed, store: &str) -> Option<&'a Child> {
    let is_it = |child: &&Child| {
        child.kind.serves_data()
            && child.component == store
            && child.is_of(platform)
            && child.hibernation() == Hibernation::None
    };
    observed.values().find(is_it)
}

/// The store's name among components.
fn name_of(store: Store) -> &'static str {
    STORES.iter().find(|(other, ..)| *other == store).map_or("", |(_, name, _)| name)
}
