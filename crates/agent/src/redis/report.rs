//! Report stage, pure: what a server and its agent say → what the operator is told.

use std::collections::{BTreeMap, BTreeSet};

use trading_report::{Cluster, Failure, Report, Role, Volume, pod_of};

use super::cluster::nodes::{Node, SLOTS};
use super::link::field;
use super::settings::Settings;

/// Characters that are told of a value.
const LONGEST_VALUE: usize = 60;

/// What is known just now.
#[derive(Default)]
pub struct Facts<'a> {
    /// The pod.
    pub name: &'a str,
    /// `INFO`; `None` where the server does not answer.
    pub info: Option<&'a str>,
    /// `CLUSTER NODES`; `None` where the server is no cluster's, or does not answer.
    pub nodes: Option<&'a [Node]>,
    /// Whether the agent finds the cluster as it should be, and what it does about that.
    pub cluster: Option<(bool, Option<&'a str>)>,
    /// Digests of the files that the server runs by.
    pub in_force: BTreeMap<String, String>,
    /// Settings that are not in force, and why.
    pub pending: BTreeMap<String, String>,
    /// Users who are not in force, and why.
    pub users_pending: BTreeMap<String, String>,
    /// What the settings should be, where that can be read just now.
    pub wished: Option<Settings>,
    /// The volume with the data.
    pub volume: Option<Volume>,
    /// Why there is no server.
    pub failure: Option<Failure>,
}

/// All of it.
pub fn of(facts: Facts) -> Report {
    let value = |name| facts.info.and_then(|info| field(info, name));
    let follows = whom(&facts, value("master_host"));
    let refused = refused(&facts);
    let in_step = (value("role") == Some("slave")).then(|| value("master_link_status") == Some("up"));
    Report {
        name: facts.name.to_owned(),
        role: match (value("redis_mode"), value("role")) {
            (Some("sentinel"), _) => Role::Sentinel,
            (_, Some("master")) => Role::Primary,
            (_, Some("slave")) => Role::Replica,
            _ => Role::Unknown,
        },
        waits_for: waits_for(&facts, follows.as_deref()),
        follows,
        in_step,
        lag_bytes: None,
        cluster: facts
            .nodes
            .and_then(|nodes| cluster(nodes, facts.cluster.is_some_and(|(settled, _)| settled))),
        in_force: facts.in_force,
        pending_restart: facts.pending.into_keys().collect(),
        volumes: facts.volume.into_iter().collect(),
        refused,
        version: value("redis_version").map(ToOwned::to_owned),
        failure: facts.failure,
    }
}

/// The pod of its master. A cluster's server knows its master by an address alone, and by what that announces.
fn whom(facts: &Facts, master_host: Option<&str>) -> Option<String> {
    let Some(nodes) = facts.nodes else { return master_host.map(|host| pod_of(host).to_owned()) };
    let master = nodes.iter().find(|node| node.myself)?.master.as_ref()?;
    let master = nodes.iter().find(|node| node.id == *master)?;
    Some(pod_of(&master.host).to_owned()).filter(|pod| !pod.is_empty())
}

/// The first word says what: a directive, or `users.` and a name.
fn refused(facts: &Facts) -> BTreeSet<String> {
    let wished = |name: &String| facts.wished.as_ref().map(|wished| wished.get(name));
    let setting = |(name, reason): (&String, &String)| match wished(name) {
        Some(Some(value)) => {
            let value: String = value.chars().take(LONGEST_VALUE).collect();
            format!("{name} {value:?}: {reason}")
        }
        Some(None) => format!("{name} (back to its default): {reason}"),
        None => format!("{name} (its value can't be read just now): {reason}"),
    };
    let user = |(name, reason): (&String, &String)| format!("users.{name} (its rules): {reason}");
    facts.pending.iter().map(setting).chain(facts.users_pending.iter().map(user)).collect()
}

fn waits_for(facts: &Facts, follows: Option<&str>) -> Option<String> {
    let Some(info) = facts.info else { return Some("the server does not answer".to_owned()) };
    let says = |name, value| field(info, name) == Some(value);
    let master = follows.unwrap_or("its master");
    if says("loading", "1") {
        return Some("the server loads its data".to_owned());
    }
    if says("master_sync_in_progress", "1") {
        return Some(format!("copies the data of {master}"));
    }
    if says("master_link_status", "down") {
        return Some(format!("has no link to {master}"));
    }
    facts.cluster?.1.map(ToOwned::to_owned)
}

fn cluster(nodes: &[Node], settled: bool) -> Option<Cluster> {
    let own = nodes.iter().find(|node| node.myself)?;
    let count = |node: &Node| u16::try_from(node.slot_count()).unwrap_or(SLOTS);
    let served: u16 = nodes.iter().filter(|node| !node.failed).map(count).fold(0, u16::saturating_add);
    let pods = |wanted: fn(&Node) -> bool| {
        let some = nodes.iter().filter(|node| wanted(node) && !node.host.is_empty());
        some.map(|node| pod_of(&node.host).to_owned()).collect()
    };
    Some(Cluster {
        node: own.id.0.clone(),
        slots: count(own),
        unserved: SLOTS.saturating_sub(served),
        settled,
        members: pods(|node| !node.handshake),
        owners: pods(|node| !node.slots.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::cluster::nodes;

    const NODES: &str = "\
aa 10.0.0.1:6379@16379,shop-redis-0.h myself,master - 0 0 3 connected 0-8191
bb 10.0.0.2:6379@16379,shop-redis-1.h slave aa 0 1 3 connected
cc 10.0.0.3:6379@16379,shop-redis-2.h master,fail - 0 1 2 disconnected 8192-16383\n";

    #[test]
    fn a_master_of_a_cluster_tells_how_it_sees_that() {
        let nodes = nodes::parse(NODES).expect("valid");
        let info = "redis_version:7.2.4\r\nredis_mode:cluster\r\nrole:master\r\n";
        let facts = Facts {
            name: "shop-redis-0",
            info: Some(info),
            nodes: Some(&nodes),
            cluster: Some((false, Some("the servers tell each other what changed"))),
            ..Facts::default()
        };
        let report = of(facts);
        assert_eq!((report.role, report.follows, report.in_step), (Role::Primary, None, None));
        assert_eq!(report.version.as_deref(), Some("7.2.4"));
        assert_eq!(report.waits_for.as_deref(), Some("the servers tell each other what changed"));
        let cluster = report.cluster.expect("it is one's");
        assert_eq!((cluster.node.as_str(), cluster.slots, cluster.unserved), ("aa", 8192, 8192));
        assert_eq!(cluster.members.len(), 3);
        assert!(cluster.owners.iter().eq(["shop-redis-0", "shop-redis-2"]), "{:?}", cluster.owners);
    }

    #[test]
    fn a_replica_tells_whom_it_follows_and_whether_it_keeps_up() {
        let of_link = |link: &str| {
            let info = format!(
                "redis_mode:standalone\r\nrole:slave\r\nmaster_host:shop-redis-0.h.ns.svc\r\n{link}\r\n"
            );
            of(Facts { name: "shop-redis-1", info: Some(&info), ..Facts::default() })
        };
        let well = of_link("master_link_status:up");
        assert_eq!((well.role, well.follows.as_deref()), (Role::Replica, Some("shop-redis-0")));
        assert_eq!((well.in_step, well.waits_for), (Some(true), None));
        let copies = of_link("master_link_status:down\r\nmaster_sync_in_progress:1");
        assert_eq!(copies.in_step, Some(false));
        assert_eq!(copies.waits_for.as_deref(), Some("copies the data of shop-redis-0"));
        let lost = of_link("master_link_status:down\r\nmaster_sync_in_progress:0");
        assert_eq!(lost.waits_for.as_deref(), Some("has no link to shop-redis-0"));
    }

    #[test]
    fn a_replica_of_a_cluster_follows_a_pod() {
        let nodes =
            nodes::parse(&NODES.replace("myself,", "").replace("slave", "myself,slave")).expect("valid");
        let info =
            Some("redis_mode:cluster\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_link_status:up\r\n");
        let report = of(Facts { name: "shop-redis-1", info, nodes: Some(&nodes), ..Facts::default() });
        assert_eq!(report.follows.as_deref(), Some("shop-redis-0"));
    }

    #[test]
    fn what_is_refused_is_told_with_its_value() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let facts = Facts {
            pending: map(&[("timeout", "no number"), ("hz", "no default")]),
            users_pending: map(&[("app", "unknown command")]),
            wished: Some(map(&[("timeout", "never"), ("databases", "4")])),
            ..Facts::default()
        };
        let report = of(facts);
        let expected = [
            "hz (back to its default): no default",
            "timeout \"never\": no number",
            "users.app (its rules): unknown command",
        ];
        assert!(report.refused.iter().eq(expected), "{:?}", report.refused);
        assert!(report.pending_restart.iter().eq(["hz", "timeout"]));
        let unread = of(Facts { pending: map(&[("timeout", "no number")]), ..Facts::default() });
        assert!(
            unread.refused.iter().eq(["timeout (its value can't be read just now): no number"]),
            "{:?}",
            unread.refused
        );
    }

    #[test]
    fn a_silent_server_has_no_role() {
        let report = of(Facts { name: "shop-redis-0", ..Facts::default() });
        assert_eq!(report.role, Role::Unknown);
        assert_eq!(report.waits_for.as_deref(), Some("the server does not answer"));
    }
}
