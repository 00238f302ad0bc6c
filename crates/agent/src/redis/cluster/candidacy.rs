//! Whether a replica may be elected, pure. Redis elects by how lately a replica has copied, and does not ask from whom:
//! one that started again copies from where its master was, and another shard's server may be there by now.

use super::nodes::NodeId;
use super::view::Member;

/// The directive that keeps a replica from being elected. It takes over when it is told to all the same.
pub const DIRECTIVE: &str = "cluster-replica-no-failover";

/// What a server's agent knows of its copy: nothing when the server starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidacy {
    /// A master, and the replication id of data that was seen to be that master's.
    proven: Option<(NodeId, String)>,
}

impl Candidacy {
    /// The server may be elected.
    pub fn is_allowed(&self) -> bool {
        self.proven.is_some()
    }

    /// The server has a whole copy, and its master has to be asked whether it is its own.
    pub fn needs_proof(&self, own: &Member) -> bool {
        own.me().replica && own.is_in_step() && !self.is_proven(own)
    }

    /// What follows from a look at the server, and at its master where that was asked.
    ///
    /// A link that breaks says nothing of the copy; another replication id says that the copy is another one.
    pub fn after(&self, own: &Member, master: Option<&Member>) -> Self {
        if self.is_proven(own) {
            return self.clone();
        }
        let is_its_own = |master: &&Member| {
            self.needs_proof(own)
                && own.me().master.as_ref() == Some(master.id())
                && master.replication_id == own.replication_id
        };
        let proof = |master: &Member| Some((master.id().clone(), master.replication_id.clone()?));
        Self { proven: master.filter(is_its_own).and_then(proof) }
    }

    fn is_proven(&self, own: &Member) -> bool {
        let is = |(master, data): &(NodeId, String)| {
            own.me().master.as_ref() == Some(master) && own.replication_id.as_ref() == Some(data)
        };
        self.proven.as_ref().is_some_and(is)
    }
}

#[cfg(test)]
mod tests {
    use super::super::nodes;
    use super::*;

    fn member(text: &str, source: Option<&str>, data: &str) -> Member {
        let nodes = nodes::parse(text).expect("valid");
        let ip = "10.0.0.2".parse().expect("valid");
        let (source, replication_id) = (source.map(str::to_owned), Some(data.to_owned()));
        Member { linked: source.is_some(), source, replication_id, ..Member::of(ip, nodes) }
    }

    /// A replica of `a`, which it believes at `.1`.
    fn replica(source: &str, data: &str) -> Member {
        let text = "a 10.0.0.1:6379@16379,redis-0.h master - 0 0 1 connected 0-16383\n\
                    b 10.0.0.2:6379@16379,redis-1.h myself,slave a 0 0 1 connected\n";
        member(text, Some(source), data)
    }

    fn master(id: &str, data: &str) -> Member {
        member(
            &format!("{id} 10.0.0.1:6379@16379,redis-0.h myself,master - 0 0 1 connected 0-16383\n"),
            None,
            data,
        )
    }

    #[test]
    fn a_replica_stands_once_its_master_has_the_same_data() {
        let (own, nobody) = (replica("10.0.0.1", "x"), Candidacy::default());
        assert!(nobody.needs_proof(&own));
        for refused in [None, Some(master("a", "y")), Some(master("c", "x"))] {
            assert!(!nobody.after(&own, refused.as_ref()).is_allowed(), "{refused:?}");
        }
        let proven = nobody.after(&own, Some(&master("a", "x")));
        assert!(proven.is_allowed() && !proven.needs_proof(&own), "nobody is asked any more");
        // Its copy is the master's still.
        let cut = Member { linked: false, ..own };
        assert_eq!(proven.after(&cut, None), proven);
    }

    #[test]
    fn not_with_another_servers_data() {
        let (own, of_a) = (replica("10.0.0.1", "x"), master("a", "x"));
        let proven = Candidacy::default().after(&own, Some(&of_a));
        let elsewhere = replica("10.0.0.9", "y");
        assert!(!proven.needs_proof(&elsewhere));
        // It was copied from where its master was, and the link is down again.
        let copied = Member { linked: false, ..replica("10.0.0.1", "y") };
        for another in [elsewhere, copied, replica("10.0.0.1", "y")] {
            assert!(!proven.after(&another, Some(&of_a)).is_allowed(), "{another:?}");
        }
        assert!(!proven.after(&of_a, None).is_allowed(), "a master needs no election");
    }
}
