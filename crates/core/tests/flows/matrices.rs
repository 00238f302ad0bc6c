//! Who may talk to whom, written from the platforms' papers. Cluster DNS comes on top for every pod.

use crate::world::{API, Flow};

/// One platform: where its example is rendered, its pods, and its flows.
pub struct Matrix {
    /// Folders of `tests/golden`.
    pub examples: &'static [&'static str],
    /// Every pod that it has.
    pub pods: &'static [&'static str],
    /// Addresses outside the cluster, some of them to be reached by nobody.
    pub outside: &'static [(&'static str, &'static str)],
    /// What is admitted.
    flows: &'static [Flow],
}

/// Every pod asks the cluster's DNS, and that on its node.
const RESOLVERS: [&str; 2] = ["cluster dns", "node-local dns"];

impl Matrix {
    /// All flows, those of name resolution included.
    pub fn flows(&self) -> Vec<Flow> {
        let mut all = self.flows.to_vec();
        for pod in self.pods {
            for resolver in RESOLVERS {
                all.extend([(*pod, resolver, 53, "UDP"), (*pod, resolver, 53, "TCP")]);
            }
        }
        all
    }
}

/// Frontend behind the ingress calls the backend; backend and scraper use Redis and the database outside,
/// by its address block; only the scraper reads sites; Redis talks to itself; monitoring scrapes.
pub const TRADEWIZARD: Matrix = Matrix {
    examples: &["tradewizard/production", "tradewizard/staging", "tradewizard/development"],
    pods: &["frontend", "backend", "scraper", "redis"],
    outside: &[
        ("site one", "198.51.100.7"),
        ("site two", "203.0.113.200"),
        ("database", "192.0.2.1"),
        ("anywhere", "8.8.8.8"),
        ("anywhere in IPv6", "2001:db8::1"),
        ("cloud metadata", "169.254.169.254"),
        ("cloud metadata in IPv6", "fd00:ec2::254"),
        ("pod identity", "169.254.170.23"),
        ("node-local dns", "169.254.20.10"),
    ],
    flows: &[
        ("ingress controller", "frontend", 3000, "TCP"),
        ("frontend", "backend", 8080, "TCP"),
        ("backend", "redis", 6379, "TCP"),
        ("scraper", "redis", 6379, "TCP"),
        ("redis", "redis", 6379, "TCP"),
        ("redis", "redis", 16379, "TCP"),
        ("prometheus", "frontend", 3000, "TCP"),
        ("prometheus", "backend", 8080, "TCP"),
        ("prometheus", "scraper", 8080, "TCP"),
        ("prometheus", "redis", 9121, "TCP"),
        ("operator", "redis", 9121, "TCP"),
        ("backend", "database", 5432, "TCP"),
        ("scraper", "database", 5432, "TCP"),
        ("scraper", "site one", 443, "TCP"),
        ("scraper", "site two", 443, "TCP"),
    ],
};

/// The Flask API, the workers and what computes ahead share Postgres and Redis in the cluster, one server
/// each; the API asks what was computed. Its papers name no host, so nothing comes in, and nothing outside
/// that it would call.
pub const TRADEWISE: Matrix = Matrix {
    examples: &["tradewise/production"],
    pods: &["api", "precompute", "worker", "postgres", "redis"],
    outside: &[
        ("anywhere", "8.8.8.8"),
        ("anywhere in IPv6", "2001:db8::1"),
        ("cloud metadata", "169.254.169.254"),
        ("node-local dns", "169.254.20.10"),
    ],
    flows: &[
        ("api", "precompute", 5001, "TCP"),
        ("api", "postgres", 5432, "TCP"),
        ("worker", "postgres", 5432, "TCP"),
        ("precompute", "postgres", 5432, "TCP"),
        ("api", "redis", 6379, "TCP"),
        ("worker", "redis", 6379, "TCP"),
        ("precompute", "redis", 6379, "TCP"),
        ("prometheus", "api", 5000, "TCP"),
        ("prometheus", "precompute", 5001, "TCP"),
        // What serves the worker's health serves the length of its queue, too.
        ("prometheus", "worker", 5002, "TCP"),
        ("prometheus", "postgres", 8008, "TCP"),
        ("operator", "postgres", 8008, "TCP"),
        // Its servers agree by a Lease who takes writes.
        ("postgres", API, 443, "TCP"),
        ("postgres", API, 6443, "TCP"),
        ("prometheus", "redis", 9121, "TCP"),
        ("operator", "redis", 9121, "TCP"),
    ],
};

/// The API (port 8000) is behind NGINX, webhooks included; it calls the payment providers. Analytics (port
/// 8001) reads the replicas; workers handle events of Redis. "api to postgres 5432 and the same kind of
/// rule for every other flow that is needed, nothing else": replicas follow their primary.
pub const TRADESENSE: Matrix = Matrix {
    examples: &["tradesense/production", "tradesense/staging"],
    pods: &["api", "analytics", "workers", "postgres", "postgres-pooler", "redis"],
    outside: &[
        ("payment provider", "151.101.1.35"),
        ("host in a private network", "10.200.0.1"),
        ("host in another private network", "172.20.0.1"),
        ("host in a third private network", "192.168.7.7"),
        ("anywhere in IPv6", "2001:db8::1"),
        ("cloud metadata", "169.254.169.254"),
        ("pod identity", "169.254.170.23"),
        ("node-local dns", "169.254.20.10"),
    ],
    flows: &[
        ("ingress controller", "api", 8000, "TCP"),
        ("api", "postgres", 5432, "TCP"),
        ("api", "postgres-pooler", 5432, "TCP"),
        ("api", "redis", 6379, "TCP"),
        ("api", "payment provider", 443, "TCP"),
        ("analytics", "postgres", 5432, "TCP"),
        ("analytics", "redis", 6379, "TCP"),
        ("workers", "postgres", 5432, "TCP"),
        ("workers", "postgres-pooler", 5432, "TCP"),
        ("workers", "redis", 6379, "TCP"),
        // They hold the providers' keys.
        ("workers", "payment provider", 443, "TCP"),
        ("postgres-pooler", "postgres", 5432, "TCP"),
        ("postgres", "postgres", 5432, "TCP"),
        // Who would take over asks the others how far they are.
        ("postgres", "postgres", 8008, "TCP"),
        ("prometheus", "api", 8000, "TCP"),
        ("prometheus", "analytics", 8001, "TCP"),
        ("prometheus", "postgres", 8008, "TCP"),
        ("operator", "postgres", 8008, "TCP"),
        // Its servers agree by a Lease who takes writes.
        ("postgres", API, 443, "TCP"),
        ("postgres", API, 6443, "TCP"),
        ("prometheus", "redis", 9121, "TCP"),
        ("operator", "redis", 9121, "TCP"),
    ],
};

/// The load balancer connects to the gateway's pods from its subnets, and the gateway to every service.
/// Trading reads market data and has people told; the agent trades and reads market data. Whoever keeps
/// state reaches database and cache by their address blocks. Every service assumes a cloud role and
/// reports errors to Sentry, so each calls the internet's 443.
pub const KIANAX: Matrix = Matrix {
    examples: &["kianax/production", "kianax/development"],
    pods: &["gateway", "auth", "trading", "agent", "market-data", "notification"],
    outside: &[
        ("load balancer in zone a", "10.0.0.11"),
        ("load balancer in zone c", "10.0.47.254"),
        ("node in no subnet of the load balancer", "10.0.48.1"),
        ("database in zone a", "10.0.64.10"),
        ("database in zone c", "10.0.75.255"),
        ("cache in zone a", "10.0.80.10"),
        ("cache in zone c", "10.0.91.255"),
        ("host between database and cache", "10.0.76.1"),
        ("internet", "52.95.110.1"),
        ("anywhere in IPv6", "2001:db8::1"),
        ("cloud metadata", "169.254.169.254"),
        ("pod identity", "169.254.170.23"),
        ("node-local dns", "169.254.20.10"),
    ],
    flows: &[
        ("load balancer in zone a", "gateway", 8080, "TCP"),
        ("load balancer in zone c", "gateway", 8080, "TCP"),
        ("gateway", "auth", 8080, "TCP"),
        ("gateway", "trading", 8080, "TCP"),
        ("gateway", "agent", 8080, "TCP"),
        ("gateway", "market-data", 8080, "TCP"),
        ("gateway", "notification", 8080, "TCP"),
        ("trading", "market-data", 8080, "TCP"),
        ("trading", "notification", 8080, "TCP"),
        ("agent", "trading", 8080, "TCP"),
        ("agent", "market-data", 8080, "TCP"),
        ("auth", "database in zone a", 5432, "TCP"),
        ("auth", "database in zone c", 5432, "TCP"),
        ("trading", "database in zone a", 5432, "TCP"),
        ("trading", "database in zone c", 5432, "TCP"),
        ("agent", "database in zone a", 5432, "TCP"),
        ("agent", "database in zone c", 5432, "TCP"),
        ("market-data", "database in zone a", 5432, "TCP"),
        ("market-data", "database in zone c", 5432, "TCP"),
        ("notification", "database in zone a", 5432, "TCP"),
        ("notification", "database in zone c", 5432, "TCP"),
        ("auth", "cache in zone a", 6379, "TCP"),
        ("auth", "cache in zone c", 6379, "TCP"),
        ("trading", "cache in zone a", 6379, "TCP"),
        ("trading", "cache in zone c", 6379, "TCP"),
        ("agent", "cache in zone a", 6379, "TCP"),
        ("agent", "cache in zone c", 6379, "TCP"),
        ("market-data", "cache in zone a", 6379, "TCP"),
        ("market-data", "cache in zone c", 6379, "TCP"),
        ("notification", "cache in zone a", 6379, "TCP"),
        ("notification", "cache in zone c", 6379, "TCP"),
        ("gateway", "internet", 443, "TCP"),
        ("auth", "internet", 443, "TCP"),
        ("trading", "internet", 443, "TCP"),
        ("agent", "internet", 443, "TCP"),
        ("market-data", "internet", 443, "TCP"),
        ("notification", "internet", 443, "TCP"),
        ("prometheus", "gateway", 8080, "TCP"),
        ("prometheus", "auth", 8080, "TCP"),
        ("prometheus", "trading", 8080, "TCP"),
        ("prometheus", "agent", 8080, "TCP"),
        ("prometheus", "market-data", 8080, "TCP"),
        ("prometheus", "notification", 8080, "TCP"),
    ],
};

/// Every platform that has one.
pub const ALL: [&Matrix; 7] =
    [&TRADEWIZARD, &TRADEWISE, &TRADESENSE, &KIANAX, &VIBEBOX, &CLOUDNATIVE, &OWN_STORES];

/// Who writes may go by way of the pooler or not, for what needs a session of its own; who only reads may not. The
/// pooler reaches the servers and nothing else.
const OWN_STORES: Matrix = Matrix {
    examples: &["stores/own"],
    pods: &["backend", "analytics", "postgres", "postgres-pooler", "redis", "sentinel"],
    outside: &[
        ("anywhere", "8.8.8.8"),
        ("cloud metadata", "169.254.169.254"),
        ("node-local dns", "169.254.20.10"),
    ],
    flows: &[
        ("backend", "postgres-pooler", 5432, "TCP"),
        ("postgres-pooler", "postgres", 5432, "TCP"),
        ("backend", "postgres", 5432, "TCP"),
        ("analytics", "postgres", 5432, "TCP"),
        ("postgres", "postgres", 5432, "TCP"),
        ("postgres", "postgres", 8008, "TCP"),
        ("operator", "postgres", 8008, "TCP"),
        ("postgres", API, 443, "TCP"),
        ("postgres", API, 6443, "TCP"),
        ("backend", "redis", 6379, "TCP"),
        ("backend", "sentinel", 26379, "TCP"),
        ("redis", "redis", 6379, "TCP"),
        ("redis", "redis", 9121, "TCP"),
        ("redis", "sentinel", 26379, "TCP"),
        ("sentinel", "redis", 6379, "TCP"),
        ("sentinel", "redis", 9121, "TCP"),
        ("sentinel", "sentinel", 26379, "TCP"),
        ("operator", "redis", 9121, "TCP"),
    ],
};

/// CloudNativePG's operator asks each server how it is, and servers ask each other (its page on networking).
const CLOUDNATIVE: Matrix = Matrix {
    examples: &["stores/cloudnative"],
    pods: &["backend", "analytics", "postgres"],
    outside: &[
        ("anywhere", "8.8.8.8"),
        ("cloud metadata", "169.254.169.254"),
        ("node-local dns", "169.254.20.10"),
    ],
    flows: &[
        ("backend", "postgres", 5432, "TCP"),
        ("analytics", "postgres", 5432, "TCP"),
        ("postgres", "postgres", 5432, "TCP"),
        ("postgres", "postgres", 8000, "TCP"),
        ("cnpg operator", "postgres", 5432, "TCP"),
        ("cnpg operator", "postgres", 8000, "TCP"),
        ("postgres", API, 443, "TCP"),
        ("postgres", API, 6443, "TCP"),
    ],
};

/// Tiers in namespaces of their own: the frontend reaches the backend and nothing else, the backend both
/// stores and the runtime; anything else is denied the database tier. Traces go to whatever collects
/// them in the namespace of monitoring; sandboxes fetch from outside.
pub const VIBEBOX: Matrix = Matrix {
    examples: &["vibebox/production"],
    pods: &["frontend", "backend", "postgres", "redis", "runtime"],
    outside: &[
        ("anywhere", "8.8.8.8"),
        ("cloud metadata", "169.254.169.254"),
        ("private address", "10.0.0.1"),
        ("node-local dns", "169.254.20.10"),
    ],
    flows: &[
        ("ingress controller", "frontend", 80, "TCP"),
        ("ingress controller", "backend", 3000, "TCP"),
        ("frontend", "backend", 3000, "TCP"),
        ("backend", "postgres", 5432, "TCP"),
        ("backend", "redis", 6379, "TCP"),
        ("backend", "runtime", 2375, "TCP"),
        ("runtime", "anywhere", 443, "TCP"),
        // Traces, to where monitoring is.
        ("frontend", "prometheus", 4317, "TCP"),
        ("backend", "prometheus", 4317, "TCP"),
        ("prometheus", "frontend", 80, "TCP"),
        ("prometheus", "backend", 3000, "TCP"),
        ("prometheus", "postgres", 8008, "TCP"),
        ("operator", "postgres", 8008, "TCP"),
        // Its servers agree by a Lease who takes writes.
        ("postgres", API, 443, "TCP"),
        ("postgres", API, 6443, "TCP"),
        ("prometheus", "redis", 9121, "TCP"),
        ("operator", "redis", 9121, "TCP"),
    ],
};
