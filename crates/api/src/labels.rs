//! Names that the operator writes into objects: labels, annotations, finalizer, field managers.

/// Recommended label: the platform's name.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Recommended label: the component's name (`frontend`, `redis`, …).
pub const NAME: &str = "app.kubernetes.io/name";
/// Recommended label: the tier the component belongs to (`application`, `cache`, `database`).
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Recommended label: who manages the object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Recommended label: the larger thing this belongs to.
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// Recommended label: the release; never part of a selector.
pub const VERSION: &str = "app.kubernetes.io/version";
/// Value of [`MANAGED_BY`] on everything the operator owns.
pub const OPERATOR: &str = "trading-operator";
/// Value of [`PART_OF`].
pub const PART_OF_VALUE: &str = "trading-platform";
/// UID of the `TradingPlatform` an object belongs to; the finalizer and pruning go by it.
pub const PLATFORM_UID: &str = "platform.trading/uid";
/// Namespace of the `TradingPlatform`, on its objects in other namespaces.
pub const HOME: &str = "platform.trading/namespace";
/// Label of a namespace: `<namespace>.<name>` of the one platform that may put tiers into it.
pub const ALLOWS: &str = "platform.trading/allows";
/// Annotation of a Secret that is a copy: `<namespace>/<name>` of the original.
pub const COPIED_FROM: &str = "platform.trading/copied-from";
/// `blue` or `green`: part of Deployment selectors from the first release on, so that a second
/// set of pods can run beside the first without replacing it.
pub const SLOT: &str = "platform.trading/slot";
/// Topology of a data store (`Standalone`, `Cluster`), to refuse a change under live data.
pub const STORE_MODE: &str = "platform.trading/store-mode";
/// Label of a store's pods: what the server is.
pub const STORE_ROLE: &str = "platform.trading/role";
/// Value of [`STORE_ROLE`]: it follows the primary.
pub const ROLE_REPLICA: &str = "replica";
/// Value of [`STORE_ROLE`]: it takes writes.
pub const ROLE_PRIMARY: &str = "primary";
/// Annotation: digest of what the operator last applied, so that unchanged objects are not written.
pub const APPLIED: &str = "platform.trading/applied";
/// Annotation on pod templates: digest of the configuration and Secrets that the pods consume.
pub const CONFIG_CHECKSUM: &str = "platform.trading/config-checksum";
/// Annotation of a Secret with a login: which generation it is.
pub const GENERATION: &str = "platform.trading/generation";
/// Annotation of a store's servers: how far TLS to them is.
pub const TLS: &str = "platform.trading/tls";
/// Annotation of a Secret with a certificate: when it is to be renewed, and for which names it is.
pub const CERTIFICATE: &str = "platform.trading/certificate";
/// On pods: how long their logs are kept, such as `30d`, for the log store's rules.
pub const LOG_RETENTION: &str = "platform.trading/log-retention";
/// Finalizer that lets the operator take data stores down in a safe order.
pub const FINALIZER: &str = "platform.trading/finalizer";
/// Field manager of everything that is rendered.
pub const FIELD_MANAGER: &str = "trading-operator";
/// Field manager that keeps `spec.replicas` of autoscaled workloads from falling to 1 when the
/// first one lets go of it.
pub const REPLICAS_MANAGER: &str = "trading-operator-replicas";
