//! The PromQL that alerts and dashboards share.

use crate::plan::{
    Identity, POOLER, POSTGRES, Plan, REDIS, RUNTIME,
    monitoring::{ErrorsMetric, MonitoringPlan},
};

/// The operator's own estimate of what platforms cost (`docs/cost.md`).
const ESTIMATE: &str = "trading_platform_estimated_monthly_cost";

/// Dashboards' variable; Grafana makes `(a|b)` of several.
const CHOSEN: &str = "$component";

/// Queries about one platform. Names of Kubernetes objects and metrics hold nothing that PromQL
/// would have to quote.
pub(super) struct Queries<'a> {
    pub plan: &'a Plan,
    pub monitoring: &'a MonitoringPlan,
    /// Only components that are chosen on the dashboard, by its variable.
    pub chosen: bool,
}

impl Queries<'_> {
    /// Selects the series that the platform's monitors scraped.
    pub fn scraped(&self) -> String {
        let chosen = if self.chosen { format!(",component=~\"{CHOSEN}\"") } else { String::new() };
        format!("{},platform=\"{}\"{chosen}", self.namespace(), self.plan.identity.name)
    }

    /// Selects what belongs to the platform's namespaces.
    pub fn namespace(&self) -> String {
        match self.plan.identity.namespaces().as_slice() {
            [own] => format!("namespace=\"{own}\""),
            several => format!("namespace=~\"{}\"", several.join("|")),
        }
    }

    /// Selects the containers of the platform's pods, components and stores; of the chosen components only.
    pub fn pods(&self) -> String {
        if self.chosen {
            return format!("{},pod=~\"{}\"", self.namespace(), self.deployed());
        }
        let pods: Vec<String> =
            [self.deployed()].into_iter().chain(self.stored()).chain(self.on_every_node()).collect();
        format!("{},pod=~\"{}\"", self.namespace(), pods.join("|"))
    }

    /// Selects the containers of the data stores' pods, where the platform runs some.
    pub fn store_pods(&self) -> Option<String> {
        Some(format!("{},pod=~\"{}\"", self.namespace(), self.stored()?))
    }

    /// Pods of Deployments: their names end with two random parts.
    fn deployed(&self) -> String {
        format!("{}-({})-[a-z0-9]+-[a-z0-9]{{5}}", self.plan.identity.name, self.components())
    }

    /// Pods of `StatefulSets`: their names end with a number.
    fn stored(&self) -> Option<String> {
        Some(format!("{}-({})(-[a-z0-9]+)*-[0-9]+", self.plan.identity.name, self.stores()?))
    }

    /// Pods of the container runtime's `DaemonSet`: their names end with one random part.
    fn on_every_node(&self) -> Option<String> {
        self.plan.runtime.as_ref().map(|_| format!("{}-{RUNTIME}-[a-z0-9]{{5}}", self.plan.identity.name))
    }

    /// The data stores that the platform runs itself.
    fn stores(&self) -> Option<String> {
        let redis = self.plan.redis.as_ref().map(|_| REDIS);
        let postgres = self.plan.postgres.as_ref().and_then(|database| database.servers.as_ref());
        let names: Vec<&str> = redis.into_iter().chain(postgres.map(|_| POSTGRES)).collect();
        (!names.is_empty()).then(|| names.join("|"))
    }

    fn components(&self) -> String {
        if self.chosen {
            return CHOSEN.to_owned();
        }
        let names = self.plan.components.iter().map(|component| component.name.as_str());
        // CloudNativePG's Deployment has this name too.
        let pooler = self.plan.postgres.iter().filter(|database| database.pooler.is_some()).map(|_| POOLER);
        names.chain(pooler).collect::<Vec<&str>>().join("|")
    }

    /// Selects the Deployments.
    pub fn deployments(&self) -> String {
        format!("{},deployment=~\"{}-({})\"", self.namespace(), self.plan.identity.name, self.components())
    }

    /// Selects the autoscalers.
    pub fn autoscalers(&self) -> String {
        format!(
            "{},horizontalpodautoscaler=~\"{}-({})\"",
            self.namespace(),
            self.plan.identity.name,
            self.components()
        )
    }

    /// Selects the data stores' `StatefulSets`, where the platform runs some.
    pub fn stateful_sets(&self) -> Option<String> {
        Some(self.sets_of(&self.stores()?))
    }

    /// Selects the `StatefulSets` of these stores.
    pub fn sets_of(&self, stores: &str) -> String {
        format!("{},statefulset=~\"{}-({stores})(-[a-z0-9]+)*\"", self.namespace(), self.plan.identity.name)
    }

    /// Selects the container runtime's `DaemonSet`, where the platform has one.
    pub fn daemon_set(&self) -> Option<String> {
        let Identity { name, .. } = &self.plan.identity;
        self.plan.runtime.as_ref().map(|_| format!("{},daemonset=\"{name}-{RUNTIME}\"", self.namespace()))
    }

    /// What should have pods and has none that is ready.
    pub fn down(&self) -> String {
        let deployments = self.deployments();
        let deployments = format!(
            "(kube_deployment_status_replicas_available{{{deployments}}} == 0 and kube_deployment_spec_replicas > 0)"
        );
        let sets = self.stateful_sets().map(|sets| {
            format!(
                "(kube_statefulset_status_replicas_ready{{{sets}}} == 0 and kube_statefulset_replicas > 0)"
            )
        });
        let daemons = self.daemon_set().map(|set| {
            format!(
                "(kube_daemonset_status_number_ready{{{set}}} == 0 and kube_daemonset_status_desired_number_scheduled > 0)"
            )
        });
        [deployments].into_iter().chain(sets).chain(daemons).collect::<Vec<_>>().join(" or ")
    }

    /// Selects the data stores' volume claims.
    pub fn volumes(&self) -> String {
        format!("{},persistentvolumeclaim=~\".*{}-.*\"", self.namespace(), self.plan.identity.name)
    }

    /// Requests a second, by component.
    pub fn requests(&self, window: &str) -> String {
        format!(
            "sum by (component) (rate({}{{{}}}[{window}]))",
            self.monitoring.metrics.requests,
            self.scraped()
        )
    }

    /// Failed requests a second, by component.
    fn errors(&self, window: &str) -> String {
        let metrics = &self.monitoring.metrics;
        match &metrics.errors {
            ErrorsMetric::Counter(name) => {
                format!("sum by (component) (rate({name}{{{}}}[{window}]))", self.scraped())
            }
            ErrorsMetric::Status(label) => format!(
                "sum by (component) (rate({}{{{},{label}=~\"5..\"}}[{window}]))",
                metrics.requests,
                self.scraped()
            ),
        }
    }

    /// Share of requests that fail, by component.
    pub fn error_ratio(&self, window: &str) -> String {
        format!("{} / {}", self.errors(window), self.requests(window))
    }

    /// A quantile of response times in seconds, by component.
    pub fn latency(&self, quantile: &str, window: &str) -> String {
        format!(
            "histogram_quantile({quantile}, sum by (component, le) (rate({}_bucket{{{}}}[{window}])))",
            self.monitoring.metrics.duration,
            self.scraped()
        )
    }

    /// Share of requests that take longer than so many milliseconds, by component.
    pub fn slow_ratio(&self, milliseconds: i32, window: &str) -> String {
        let (name, scraped) = (&self.monitoring.metrics.duration, self.scraped());
        format!(
            "1 - sum by (component) (rate({name}_bucket{{{scraped},le=~\"{}\"}}[{window}])) / sum by (component) (rate({name}_count{{{scraped}}}[{window}]))",
            bucket(milliseconds)
        )
    }

    /// Cpu of each container, percent of its limit.
    pub fn cpu(&self) -> String {
        format!(
            "100 * sum by (pod, container) (rate(container_cpu_usage_seconds_total{{{pods},container!=\"\"}}[5m])) / sum by (pod, container) (kube_pod_container_resource_limits{{{pods},resource=\"cpu\"}})",
            pods = self.pods()
        )
    }

    /// Memory of each container, percent of its limit.
    pub fn memory(&self) -> String {
        format!(
            "100 * sum by (pod, container) (container_memory_working_set_bytes{{{pods},container!=\"\"}}) / sum by (pod, container) (kube_pod_container_resource_limits{{{pods},resource=\"memory\"}})",
            pods = self.pods()
        )
    }

    /// Container restarts in the last 15 minutes. `increase` makes 3.2 of three, since the scrapes don't
    /// span the whole window.
    pub fn restarts(&self) -> String {
        format!(
            "sum by (pod, container) (round(increase(kube_pod_container_status_restarts_total{{{}}}[15m])))",
            self.pods()
        )
    }

    /// What is spent. Of the operator's own estimates, the platform's at the pods that it has now.
    pub fn cost(&self) -> Option<String> {
        let name = self.monitoring.metrics.cost.as_ref()?;
        let mut selector = vec![self.namespace()];
        if name == ESTIMATE {
            selector.push(format!("name=\"{}\",bound=\"present\"", self.plan.identity.name));
        }
        Some(format!("{name}{{{}}}", selector.join(",")))
    }

    /// How full each volume is, percent.
    pub fn volume_use(&self) -> String {
        format!(
            "100 * max by (persistentvolumeclaim) (kubelet_volume_stats_used_bytes{{{volumes}}}) / max by (persistentvolumeclaim) (kubelet_volume_stats_capacity_bytes{{{volumes}}})",
            volumes = self.volumes()
        )
    }
}

/// The bucket's bound as clients write it: Go says `1`, Python says `1.0`.
fn bucket(milliseconds: i32) -> String {
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    if rest == 0 {
        return format!("{seconds}|{seconds}[.]0");
    }
    let fraction = format!("{rest:03}");
    format!("{seconds}[.]{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn bounds_of_buckets_are_written_as_clients_write_them() {
        assert_eq!(bucket(500), "0[.]5");
        assert_eq!(bucket(1000), "1|1[.]0");
        assert_eq!(bucket(2050), "2[.]05");
        assert_eq!(bucket(5), "0[.]005");
    }
}
