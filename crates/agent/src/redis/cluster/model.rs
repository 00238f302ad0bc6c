//! A model of Redis Cluster, and what must hold of plans in it whatever fails in between.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use proptest::prelude::*;

use super::nodes::{Moving, Node, NodeId};
use super::plan::{self, Action, Plan};
use super::topology::Topology;
use super::view::{Member, View};

/// One server and its volume.
struct Server {
    ip: IpAddr,
    up: bool,
    keys: u64,
    /// Follows its master since it started; only then does Redis elect it.
    in_step: bool,
    /// Whom it copies, and from where.
    source: Option<(NodeId, IpAddr)>,
    /// Its `nodes.conf`.
    nodes: BTreeMap<NodeId, Node>,
    id: NodeId,
    forgotten: BTreeSet<NodeId>,
}

impl Server {
    fn me(&self) -> &Node {
        &self.nodes[&self.id]
    }

    fn me_mut(&mut self) -> &mut Node {
        self.nodes.get_mut(&self.id).expect("it knows itself")
    }
}

struct World {
    topology: Topology,
    servers: Vec<Server>,
    made: u32,
    epoch: u64,
    /// The cluster has served once: clients have written to every shard.
    in_use: bool,
}

#[derive(Clone, Debug)]
enum Fault {
    /// All agents die after so many actions of this round.
    AgentsDie(usize),
    Restart(usize),
    RestartAll,
    GoDown(usize),
    LoseVolume(usize),
    Nothing,
}

impl World {
    fn new(shards: usize, replicas: usize) -> Self {
        let text = format!("shards {shards}\nreplicas-per-shard {replicas}\nhost redis-{{}}.h\n");
        let topology = Topology::parse(&text).expect("valid");
        let mut world = Self { topology, servers: Vec::new(), made: 0, epoch: 100, in_use: false };
        for ordinal in 0..world.topology.servers() {
            let server = world.empty_server(ordinal);
            world.servers.push(server);
        }
        world
    }

    fn new_ip(&mut self) -> IpAddr {
        self.made += 1;
        Ipv4Addr::from(0x0a00_0000 + self.made).into()
    }

    fn empty_server(&mut self, ordinal: usize) -> Server {
        let ip = self.new_ip();
        // In no order that follows from the ordinal.
        let id = NodeId(format!("{:08x}", self.made.wrapping_mul(2_654_435_761)));
        let me = Node {
            id: id.clone(),
            ip: Some(ip),
            host: self.topology.host(ordinal),
            myself: true,
            handshake: false,
            failed: false,
            connected: true,
            master: None,
            replica: false,
            epoch: 0,
            slots: Vec::new(),
            moving: Vec::new(),
        };
        let nodes = BTreeMap::from([(id.clone(), me)]);
        Server { ip, up: true, keys: 0, in_step: false, source: None, nodes, id, forgotten: BTreeSet::new() }
    }

    fn view(&self, own: usize) -> View {
        let up = self.servers.iter().enumerate().filter(|(_, server)| server.up);
        let members = up.map(|(ordinal, server)| (ordinal, self.member(server))).collect();
        View { own, members, disowned: BTreeMap::new() }
    }

    fn member(&self, server: &Server) -> Member {
        let nodes = server.nodes.values().cloned().map(|mut node| {
            let there = self.at(&node);
            node.connected = node.myself || there.is_some();
            node.failed = there.is_none() && !node.myself;
            node
        });
        let nodes = nodes.collect();
        let source = server.source.as_ref().map(|(_, ip)| ip.to_string());
        let (keys, linked) = (server.keys, server.in_step);
        Member { keys, offset: keys, source, linked, ..Member::of(server.ip, nodes) }
    }

    /// The server that a node is, where it is believed to be.
    fn at(&self, node: &Node) -> Option<usize> {
        self.servers.iter().position(|it| it.up && it.id == node.id && node.ip == Some(it.ip))
    }

    /// `false` where Redis refuses.
    fn carry_out(&mut self, action: &Action) -> bool {
        match action {
            Action::Epoch { on, epoch } => {
                let server = &mut self.servers[*on];
                let may = server.nodes.len() == 1 && server.me().epoch == 0;
                if may {
                    server.me_mut().epoch = *epoch;
                }
                may
            }
            Action::Meet { on, ip } => {
                if let Some(other) = self.servers.iter().position(|it| it.up && it.ip == *ip) {
                    self.introduce(*on, other);
                    self.introduce(other, *on);
                }
                true
            }
            Action::AddSlots { on, slots } => {
                assert!(!self.in_use, "slots are added to a cluster with data: {action}");
                let owned = self.servers.iter().flat_map(|it| &it.me().slots);
                assert!(
                    owned.clone().all(|it| it.end() < slots.start() || it.start() > slots.end()),
                    "{action}"
                );
                let server = self.servers[*on].me_mut();
                server.slots.push(slots.clone());
                server.slots.sort_by_key(|it| *it.start());
                true
            }
            Action::Replicate { on, master } => {
                let server = &mut self.servers[*on];
                let known = server.nodes.get(master).is_some_and(|it| !it.replica && !it.myself);
                let free = server.me().slots.is_empty() && (server.me().replica || server.keys == 0);
                if known && free {
                    server.in_step = false;
                    let me = server.me_mut();
                    me.moving.clear();
                    me.replica = true;
                    me.master = Some(master.clone());
                }
                known && free
            }
            Action::Follow { on, .. } => {
                self.servers[*on].source = None;
                self.follow(*on);
                true
            }
            Action::Forget { on, node } => {
                let server = &mut self.servers[*on];
                let may = &server.id != node && server.me().master.as_ref() != Some(node);
                if may {
                    server.nodes.remove(node);
                    server.forgotten.insert(node.clone());
                }
                may
            }
            Action::Reset { on } => {
                let server = &mut self.servers[*on];
                assert!(server.keys == 0 || server.me().replica, "{action}");
                server.keys = 0;
                let me = server.me_mut();
                (me.replica, me.master, me.slots) = (false, None, Vec::new());
                let me = me.clone();
                server.nodes = BTreeMap::from([(me.id.clone(), me)]);
                true
            }
            Action::Leave { on } => {
                let server = &self.servers[*on];
                assert!(server.me().slots.is_empty(), "{action}");
                assert!(server.keys == 0 || server.me().replica, "{action}");
                self.servers[*on] = self.empty_server(*on);
                true
            }
            Action::Succeed { on } => {
                let master = self.servers[*on].me().master.clone();
                let master =
                    master.and_then(|id| self.servers[*on].nodes.get(&id)).and_then(|it| self.at(it));
                master.is_some() && self.servers[*on].in_step && self.promote(*on)
            }
            Action::TakeOver { on } => self.promote(*on),
            Action::Give { on, to, slots, .. } => slots
                .iter()
                .all(|slot| self.begin_to_give(*on, *to, *slot) && self.end_giving(*on, *to, *slot)),
            Action::Claim { .. } => unreachable!("servers of the model stand for what they own"),
            Action::Keep { on, slot } => {
                self.servers[*on].me_mut().moving.retain(|moving| moving.slot != *slot);
                true
            }
        }
    }

    /// Clients are told that the slot is on its way.
    fn begin_to_give(&mut self, on: usize, to: usize, slot: u16) -> bool {
        let (from_id, to_id) = (self.servers[on].id.clone(), self.servers[to].id.clone());
        let (giver, taker) = (self.servers[on].me(), self.servers[to].me());
        let may = owns(giver, slot) && !owns(taker, slot) && !giver.replica && !taker.replica;
        if may && self.servers[to].up {
            for (server, outward, other) in [(to, false, from_id), (on, true, to_id)] {
                let moving = &mut self.servers[server].me_mut().moving;
                moving.retain(|moving| moving.slot != slot);
                moving.push(Moving { slot, outward, other });
            }
        }
        may && self.servers[to].up
    }

    fn end_giving(&mut self, on: usize, to: usize, slot: u16) -> bool {
        self.epoch += 1;
        self.servers[to].keys = self.servers[to].keys.max(self.servers[on].keys);
        for (server, keeps) in [(to, true), (on, false)] {
            let me = self.servers[server].me_mut();
            me.moving.retain(|moving| moving.slot != slot);
            me.slots = without(&me.slots, slot);
            if keeps {
                me.slots = with(&me.slots, slot);
            }
        }
        self.servers[to].me_mut().epoch = self.epoch;
        let taker = self.servers[to].id.clone();
        let giver = &mut self.servers[on];
        if giver.me().slots.is_empty() {
            giver.in_step = false;
            let me = giver.me_mut();
            (me.replica, me.master) = (true, Some(taker));
        }
        true
    }

    /// A person asks for more shards.
    fn grow(&mut self, shards: usize) {
        self.topology.shards = shards;
        for ordinal in self.servers.len()..self.topology.servers() {
            let server = self.empty_server(ordinal);
            self.servers.push(server);
        }
    }

    /// A person asks for fewer, of which the operator takes none away yet.
    fn shrink(&mut self, shards: usize, replicas: usize) {
        (self.topology.shards, self.topology.replicas) = (shards, replicas);
    }

    /// The operator takes those away that are to go.
    fn end_those_that_go(&mut self) {
        for server in self.servers.split_off(self.topology.servers()) {
            assert!(server.nodes.len() == 1 && server.keys == 0 && server.me().slots.is_empty());
        }
    }

    fn promote(&mut self, on: usize) -> bool {
        self.epoch += 1;
        let epoch = self.epoch;
        let server = &mut self.servers[on];
        let Some(master) = server.me().master.clone().and_then(|id| server.nodes.get_mut(&id)) else {
            return false;
        };
        let slots = std::mem::take(&mut master.slots);
        let me = server.me_mut();
        (me.replica, me.master, me.slots, me.epoch) = (false, None, slots, epoch);
        true
    }

    /// `to` takes note of `from`.
    fn introduce(&mut self, from: usize, to: usize) {
        if from != to {
            let line = Node { myself: false, moving: Vec::new(), ..self.servers[from].me().clone() };
            let line = Node { ip: Some(self.servers[from].ip), ..line };
            // Who speaks itself is followed, too, unless its address is known already, as in Redis.
            let is_news = self.servers[to].nodes.get(&line.id).is_none_or(|known| known.ip != line.ip);
            if is_news && self.servers[to].me().master.as_ref() == Some(&line.id) {
                self.servers[to].source = Some((line.id.clone(), self.servers[from].ip));
            }
            self.servers[to].nodes.insert(line.id.clone(), line);
            self.settle_claims(to);
        }
    }

    /// Of two claims to a slot the younger wins, as in every server's own book.
    fn settle_claims(&mut self, of: usize) {
        let server = &mut self.servers[of];
        let claims: Vec<(NodeId, u64, RangeInclusive<u16>)> = server
            .nodes
            .values()
            .flat_map(|node| node.slots.iter().map(|it| (node.id.clone(), node.epoch, it.clone())))
            .collect();
        let own = server.id.clone();
        for node in server.nodes.values_mut().filter(|node| !node.slots.is_empty()) {
            let younger = claims.iter().filter(|(id, epoch, _)| id != &node.id && *epoch > node.epoch);
            let mut winner = None;
            for (id, _, slots) in younger {
                let left = less(&node.slots, slots);
                if left != node.slots {
                    (node.slots, winner) = (left, Some(id.clone()));
                }
            }
            if node.id == own && node.slots.is_empty() {
                (node.replica, node.master) = (true, winner);
                node.moving.clear();
            }
        }
        let me = server.me();
        let follows = me.master.as_ref().and_then(|id| server.nodes.get(id)).and_then(|it| it.master.clone());
        if let Some(new) = follows.filter(|new| new != &own) {
            server.me_mut().master = Some(new);
        }
    }

    fn gossip(&mut self) {
        for from in 0..self.servers.len() {
            for to in 0..self.servers.len() {
                let Some(line) = self.servers[from].nodes.get(&self.servers[to].id).cloned() else {
                    continue;
                };
                if from == to || !self.servers[from].up || self.at(&line) != Some(to) {
                    continue;
                }
                let id = self.servers[from].id.clone();
                if !self.servers[to].nodes.contains_key(&id) {
                    continue;
                }
                self.introduce(from, to);
                let heard: Vec<Node> = self.servers[from].nodes.values().cloned().collect();
                for node in heard {
                    let news = !self.servers[to].nodes.contains_key(&node.id)
                        && !self.servers[to].forgotten.contains(&node.id);
                    let elsewhere =
                        self.servers[to].nodes.get(&node.id).is_some_and(|it| self.at(it).is_none());
                    if elsewhere && self.at(&node).is_some() && node.id != self.servers[to].id {
                        // Who copies from there goes on to, as in Redis.
                        self.servers[to].nodes.get_mut(&node.id).expect("it knows it").ip = node.ip;
                    }
                    if let Some(third) = self.at(&node).filter(|_| news) {
                        self.introduce(third, to);
                        self.introduce(to, third);
                    }
                }
            }
        }
    }

    /// A replica copies from where it believes its master to be when it gets that master.
    fn follow(&mut self, on: usize) {
        let server = &mut self.servers[on];
        let master = server.me().master.clone();
        if server.source.as_ref().map(|(id, _)| id) != master.as_ref() {
            server.source = master.and_then(|id| Some((id.clone(), server.nodes.get(&id)?.ip?)));
        }
    }

    /// What Redis does by itself: elections, and copying from masters.
    fn live(&mut self) {
        let masters: Vec<NodeId> =
            self.servers.iter().filter(|it| !it.me().slots.is_empty()).map(|it| it.id.clone()).collect();
        let up = masters.iter().filter(|id| self.servers.iter().any(|it| it.up && &it.id == *id)).count();
        for replica in 0..self.servers.len() {
            self.follow(replica);
            let server = &self.servers[replica];
            let Some(master) = server.me().master.clone().filter(|_| server.up) else { continue };
            let followed = server.nodes.get(&master).and_then(|node| self.at(node));
            let is_source = |master: &usize| {
                server.source.as_ref().is_some_and(|(_, ip)| *ip == self.servers[*master].ip)
            };
            if followed.is_some_and(|master| !is_source(&master)) {
                continue;
            }
            if let Some(master) = followed {
                self.servers[replica].keys = self.servers[master].keys;
                self.servers[replica].in_step = true;
                continue;
            }
            let of_shard = server.nodes.get(&master).is_some_and(|it| !it.slots.is_empty());
            let all = up + usize::from(of_shard && !masters.contains(&master));
            // Masters without slots have no vote.
            let voters = server.nodes.values().filter(|node| node.is_shard()).count();
            if server.in_step && of_shard && all * 2 > voters {
                self.promote(replica);
            }
        }
        let owned: usize = self.servers.iter().map(|it| it.me().slot_count()).sum();
        let all_up = self.servers.iter().all(|it| it.up);
        if !self.in_use && owned == 16384 && all_up && self.is_settled() {
            self.in_use = true;
            for server in &mut self.servers {
                server.keys = 1;
            }
        }
    }

    fn fail(&mut self, fault: &Fault) {
        let pick = |ordinal: &usize, servers: usize| ordinal % servers;
        let count = self.servers.len();
        match fault {
            Fault::Restart(ordinal) => self.restart(pick(ordinal, count)),
            Fault::RestartAll => (0..count).for_each(|ordinal| self.restart(ordinal)),
            Fault::GoDown(ordinal) => self.servers[pick(ordinal, count)].up = false,
            Fault::LoseVolume(ordinal) => {
                let ordinal = pick(ordinal, count);
                if self.has_another_copy(ordinal) {
                    self.servers[ordinal] = self.empty_server(ordinal);
                }
            }
            Fault::AgentsDie(_) | Fault::Nothing => {}
        }
    }

    fn restart(&mut self, ordinal: usize) {
        let ip = self.new_ip();
        let server = &mut self.servers[ordinal];
        (server.ip, server.up, server.in_step) = (ip, true, false);
        server.me_mut().ip = Some(ip);
        server.forgotten.clear();
        server.source = None;
        self.follow(ordinal);
    }

    /// Losing this volume loses no data that anybody can expect to be there.
    fn has_another_copy(&self, ordinal: usize) -> bool {
        let id = &self.servers[ordinal].id;
        let is_copy = |it: &Server| it.up && it.in_step && it.me().master.as_ref() == Some(id) && it.keys > 0;
        !self.in_use
            || (self.is_settled() && (self.servers[ordinal].me().replica || self.servers.iter().any(is_copy)))
    }

    fn is_settled(&self) -> bool {
        self.servers.iter().enumerate().all(|(own, it)| {
            let has_left = || plan::next(&self.view(own), &self.topology) == Plan::Settled;
            let is_settled = |member: &Member| plan::is_settled(member, &self.topology);
            it.up && if self.topology.keeps(it.me()) { is_settled(&self.member(it)) } else { has_left() }
        })
    }

    /// All agents look and act once, `budget` actions in all.
    fn round(&mut self, mut budget: usize) {
        for own in 0..self.servers.len() {
            if !self.servers[own].up {
                continue;
            }
            let Plan::Act(actions) = plan::next(&self.view(own), &self.topology) else { continue };
            for action in actions {
                if budget == 0 {
                    if let Action::Give { on, to, slots, .. } = &action {
                        self.begin_to_give(*on, *to, slots[0]);
                    }
                    return;
                }
                budget -= 1;
                if !self.carry_out(&action) {
                    break;
                }
            }
        }
    }

    fn step(&mut self, fault: &Fault) {
        self.fail(fault);
        self.round(if let Fault::AgentsDie(after) = fault { *after } else { usize::MAX });
        self.gossip();
        self.live();
    }

    fn rest(&mut self) {
        for ordinal in 0..self.servers.len() {
            if !self.servers[ordinal].up {
                self.restart(ordinal);
            }
        }
        let mut calm = 0;
        for _ in 0..150 {
            self.step(&Fault::Nothing);
            calm = if self.is_settled() && self.in_use { calm + 1 } else { 0 };
            // News of the last round has reached everybody.
            if calm == 3 {
                return;
            }
        }
        let says: Vec<String> = (0..self.servers.len())
            .map(|own| {
                format!(
                    "{own}: {:?}\n{:#?}",
                    plan::next(&self.view(own), &self.topology),
                    self.servers[own].nodes
                )
            })
            .collect();
        panic!("the cluster never settles: {}", says.join("\n"));
    }
}

fn owns(node: &Node, slot: u16) -> bool {
    node.slots.iter().any(|slots| slots.contains(&slot))
}

fn without(slots: &[RangeInclusive<u16>], slot: u16) -> Vec<RangeInclusive<u16>> {
    less(slots, &(slot..=slot))
}

/// Neighbours become one range, as in Redis' own answers.
fn with(slots: &[RangeInclusive<u16>], slot: u16) -> Vec<RangeInclusive<u16>> {
    let touches = |it: &&RangeInclusive<u16>| *it.start() <= slot + 1 && slot <= it.end() + 1;
    let first = slots.iter().filter(touches).map(|it| *it.start()).chain([slot]).min().unwrap_or(slot);
    let last = slots.iter().filter(touches).map(|it| *it.end()).chain([slot]).max().unwrap_or(slot);
    let mut all: Vec<_> = slots.iter().filter(|it| !touches(it)).cloned().collect();
    all.push(first..=last);
    all.sort_by_key(|it| *it.start());
    all
}

fn less(slots: &[RangeInclusive<u16>], other: &RangeInclusive<u16>) -> Vec<RangeInclusive<u16>> {
    let (first, last) = (i32::from(*other.start()), i32::from(*other.end()));
    let parts = slots.iter().flat_map(|it| {
        let (start, end) = (i32::from(*it.start()), i32::from(*it.end()));
        [(start, end.min(first - 1)), (start.max(last + 1), end)]
    });
    let range = |(start, end): (i32, i32)| Some(u16::try_from(start).ok()?..=u16::try_from(end).ok()?);
    parts.filter(|(start, end)| start <= end).filter_map(range).collect()
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        3 => Just(Fault::Nothing),
        3 => (0usize..6).prop_map(Fault::AgentsDie),
        2 => (0usize..9).prop_map(Fault::Restart),
        1 => Just(Fault::RestartAll),
        1 => (0usize..9).prop_map(Fault::GoDown),
        2 => (0usize..9).prop_map(Fault::LoseVolume),
    ];
    prop::collection::vec(fault, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_the_cluster_settles_and_keeps_its_keys(
        (shards, replicas) in prop_oneof![Just((3, 1)), Just((3, 2)), Just((4, 1)), Just((3, 0))],
        faults in faults(),
    ) {
        let mut world = World::new(shards, replicas);
        for fault in &faults {
            world.step(fault);
        }
        world.rest();
        is_as_wished(&world)?;
    }
}

proptest! {
    // Thousands of slots move in each.
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_new_shards_get_their_share(
        (shards, replicas, more) in prop_oneof![Just((3, 1, 1)), Just((3, 1, 2)), Just((4, 2, 1)), Just((3, 0, 1))],
        before in faults(),
        after in faults(),
    ) {
        let mut world = World::new(shards, replicas);
        for fault in &before {
            world.step(fault);
        }
        world.rest();
        world.grow(shards + more);
        for fault in &after {
            world.step(fault);
        }
        world.rest();
        is_as_wished(&world)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_servers_that_go_are_emptied(
        ((shards, replicas), (fewer, less)) in prop_oneof![
            Just(((4, 1), (3, 1))),
            Just(((5, 0), (3, 0))),
            Just(((3, 2), (3, 1))),
            Just(((3, 1), (3, 0))),
            Just(((4, 1), (3, 2))),
            Just(((4, 2), (3, 1))),
        ],
        before in faults(),
        after in faults(),
    ) {
        let mut world = World::new(shards, replicas);
        for fault in &before {
            world.step(fault);
        }
        world.rest();
        world.shrink(fewer, less);
        for ordinal in world.servers.len()..world.topology.servers() {
            let server = world.empty_server(ordinal);
            world.servers.push(server);
        }
        for fault in &after {
            world.step(fault);
        }
        world.rest();
        world.end_those_that_go();
        world.rest();
        is_as_wished(&world)?;
        let known: Vec<usize> = world.servers.iter().map(|server| server.nodes.len()).collect();
        prop_assert!(known.iter().all(|count| *count == world.topology.servers()), "{:?}", known);
    }
}

/// The loss of a server and its replica had left all replicas with the one master that is to go.
#[test]
fn replicas_of_a_shard_that_goes_are_lent_to_those_that_take_its_slots() {
    let mut world = World::new(4, 1);
    world.rest();
    world.shrink(3, 1);
    for fault in [Fault::GoDown(3), Fault::GoDown(0), Fault::Nothing] {
        world.step(&fault);
    }
    world.rest();
    world.end_those_that_go();
    world.rest();
    is_as_wished(&world).expect("three shards with a replica each");
}

fn is_as_wished(world: &World) -> Result<(), TestCaseError> {
    let masters: Vec<&Server> = world.servers.iter().filter(|it| !it.me().slots.is_empty()).collect();
    prop_assert_eq!(masters.len(), world.topology.shards);
    let owned: usize = masters.iter().map(|it| it.me().slot_count()).sum();
    prop_assert_eq!(owned, 16384, "every slot has one owner");
    prop_assert!(masters.iter().all(|it| it.keys == 1), "a shard lost its keys");
    prop_assert!(masters.iter().all(|it| it.me().slot_count() >= 16384 / world.topology.shards));
    for master in masters {
        let followers = world.servers.iter().filter(|it| it.me().master.as_ref() == Some(&master.id));
        prop_assert_eq!(followers.count(), world.topology.replicas);
    }
    Ok(())
}

#[test]
fn a_cluster_forms_in_a_few_rounds() {
    let mut world = World::new(3, 1);
    let rounds = (1..20).find(|_| {
        world.step(&Fault::Nothing);
        world.in_use
    });
    assert!(rounds.is_some_and(|rounds| rounds <= 6), "{rounds:?}");
    let slots = |ordinal: usize| world.servers[ordinal].me().slots.clone();
    assert_eq!([slots(0), slots(1), slots(2)], [vec![0..=5460], vec![5461..=10921], vec![10922..=16383]]);
}

#[test]
fn nothing_is_formed_over_data_or_among_strangers() {
    for stranger in [false, true] {
        let mut world = World::new(3, 1);
        if stranger {
            let node = Node {
                id: NodeId("other".to_owned()),
                host: "elsewhere".to_owned(),
                ..world.servers[4].me().clone()
            };
            world.servers[4].nodes.insert(node.id.clone(), Node { myself: false, ..node });
        } else {
            world.servers[4].keys = 1;
        }
        for _ in 0..5 {
            assert!(matches!(plan::next(&world.view(0), &world.topology), Plan::Wait(_)));
            world.step(&Fault::Nothing);
        }
    }
}
