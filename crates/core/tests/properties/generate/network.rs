//! Flows and the mesh.

use trading_api::{
    mesh::{CircuitBreaker, Mesh, MutualTls, Retries},
    network::{Cidr, EgressPort, EgressRule, Protocol},
};

use crate::tape::Tape;

pub(super) fn egress(tape: &mut Tape) -> EgressRule {
    let blocks = [
        ("203.0.113.0/24", "203.0.113.128/25"),
        ("0.0.0.0/0", "169.254.169.254/32"),
        ("2001:db8::/32", "2001:db8:1::/48"),
        ("::/0", "fd00::/8"),
    ];
    let (cidr, except) = tape.copy(&blocks);
    let fqdn = tape.maybe(30, |tape| tape.pick(&["api.example.com", "*.example.com"]).to_owned());
    let is_block = fqdn.is_none();
    EgressRule {
        cidr: is_block.then(|| Cidr(cidr.to_owned())),
        fqdn,
        except: if is_block && tape.chance(30) { vec![Cidr(except.to_owned())] } else { Vec::new() },
        ports: tape.list(2, |tape, _| EgressPort {
            port: tape.copy(&[443, 1, 65535]),
            protocol: tape.maybe(50, |tape| tape.copy(&[Protocol::TCP, Protocol::UDP])),
        }),
    }
}

pub(super) fn mesh(tape: &mut Tape, has_database: bool) -> Mesh {
    let bound = |tape: &mut Tape| tape.maybe(50, |tape| tape.between(1, 1000));
    let mut breaker = CircuitBreaker {
        max_connections: bound(tape),
        max_pending_requests: bound(tape),
        consecutive_errors: bound(tape),
        ejection_seconds: None,
        max_database_connections: has_database.then(|| tape.between(1, 1_000_000)),
    };
    if breaker == CircuitBreaker::default() {
        breaker.max_connections = Some(1);
    }
    breaker.ejection_seconds = breaker.consecutive_errors.and_then(|_| bound(tape));
    Mesh {
        revision: tape.maybe(30, |tape| tape.pick(&["1-27", "canary"]).to_owned()),
        mtls: tape.maybe(50, |tape| tape.copy(&[MutualTls::Permissive, MutualTls::Strict])),
        retries: tape.maybe(50, |tape| Retries {
            attempts: tape.between(0, 10),
            per_try_timeout_seconds: tape.maybe(50, |tape| tape.between(1, 300)),
        }),
        circuit_breaker: tape.maybe(50, |_| breaker),
    }
}

pub(super) fn cidrs(tape: &mut Tape) -> Vec<Cidr> {
    tape.list(2, |tape, _| Cidr(tape.pick(&["192.0.2.0/24", "2001:db8::/64"]).to_owned()))
}
