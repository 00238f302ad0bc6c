//! Whether a replica may be elected, pure. Redis elects by how lately a replica has copied, and asks not from whom: one
//! that started again copies from where its master was, and another shard's server may be there by now.

use super::view::Member;

/// The directive that keeps a replica from being elected. It takes over when it is told to all the same.
pub const DIRECTIVE: &str = "cluster-replica-no-failover";

/// What a server's agent makes of its copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidacy {
    /// The server may be elected; not so when it starts.
    pub is_allowed: bool,
    /// It was in step at the last look. Its link may stand before another node has answered that it is not the master.
    was_in_step: bool,
}

impl Candidacy {
    /// What follows from a look at the server.
    pub fn after(self, own: &Member) -> Self {
        let is_in_step = !own.me().replica || own.is_in_step();
        // A link that breaks says nothing of the copy.
        let stays = self.is_allowed && !own.has_anothers_data();
        Self { is_allowed: stays || (is_in_step && self.was_in_step), was_in_step: is_in_step }
    }
}

#[cfg(test)]
mod tests {
    use super::super::nodes;
    use super::*;

    fn own(master_at: &str, source: &str, linked: bool) -> Member {
        let text = format!(
            "a {master_at}:6379@16379,redis-0.h master - 0 0 1 connected 0-16383\n\
             b 10.0.0.2:6379@16379,redis-1.h myself,slave a 0 0 1 connected\n"
        );
        let ip = "10.0.0.2".parse().expect("valid");
        let nodes = nodes::parse(&text).expect("valid");
        Member { ip, keys: 0, offset: 0, source: Some(source.to_owned()), linked, nodes }
    }

    fn allowed(looks: &[Member]) -> Vec<bool> {
        let mut candidacy = Candidacy::default();
        let look = |own| {
            candidacy = candidacy.after(own);
            candidacy.is_allowed
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn a_replica_stands_once_it_has_its_masters_data() {
        let (copies, in_step) = (own("10.0.0.1", "10.0.0.1", false), own("10.0.0.1", "10.0.0.1", true));
        assert_eq!(allowed(&[copies.clone(), in_step.clone(), in_step, copies]), [false, false, true, true]);
    }

    #[test]
    fn not_with_another_servers_data() {
        let (moved, no_more_there) = (own("10.0.0.9", "10.0.0.1", true), own("", "10.0.0.1", true));
        let (in_step, cut) = (own("10.0.0.1", "10.0.0.1", true), own("", "10.0.0.1", false));
        for astray in [moved, no_more_there] {
            assert!(astray.has_anothers_data() && !astray.is_in_step());
            let looks = [&in_step, &in_step, &astray, &cut, &in_step, &in_step].map(Clone::clone);
            assert_eq!(allowed(&looks), [false, true, false, false, false, true]);
            assert_eq!(allowed(&[in_step.clone(), astray.clone(), in_step.clone()]), [false; 3]);
        }
        // Its copy is the master's still.
        assert_eq!(allowed(&[in_step.clone(), in_step, cut]), [false, true, true]);
    }
}
