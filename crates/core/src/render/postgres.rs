//! The Service that stands for a database outside the cluster; those inside are [`postgres_servers`] and
//! [`postgres_cluster`].

use k8s_openapi::api::{
    core::v1::{Service, ServicePort, ServiceSpec},
    discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
};

use super::{meta, pooler, postgres_cluster, postgres_servers};
use crate::{
    kinds::Kind,
    object::{Lifetime, Object},
    plan::{Host, POSTGRES, Plan, PostgresPlan},
};

pub(super) fn render(plan: &Plan) -> Vec<Object> {
    let Some(database) = &plan.postgres else { return Vec::new() };
    if let Some(servers) = &database.servers {
        let pooler = pooler::render(plan, database);
        return postgres_servers::render(plan, database, servers).into_iter().chain(pooler).collect();
    }
    if let Some(cluster) = &database.cluster {
        let pooler = pooler::of_cluster(plan, database);
        return postgres_cluster::render(plan, database, cluster).into_iter().chain(pooler).collect();
    }
    match &database.host {
        Host::Name(name) => vec![external_name(plan, name, database)],
        Host::Address(address) => vec![
            without_selector(plan, database),
            endpoints(plan, &address.to_string(), address.is_ipv4(), database),
        ],
    }
}

fn service(plan: &Plan, spec: ServiceSpec) -> Object {
    let service = Service {
        metadata: meta::object(plan, POSTGRES, POSTGRES, meta::DATABASE, Lifetime::Platform),
        spec: Some(spec),
        status: None,
    };
    Object::new(Kind::Service, POSTGRES, Lifetime::Platform, &service)
}

fn port(database: &PostgresPlan) -> Vec<ServicePort> {
    vec![ServicePort {
        name: Some("postgres".to_owned()),
        port: database.port,
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }]
}

fn external_name(plan: &Plan, name: &str, database: &PostgresPlan) -> Object {
    service(
        plan,
        ServiceSpec {
            type_: Some("ExternalName".to_owned()),
            // Kubernetes takes only lower case; the clients get the name as it is written.
            external_name: Some(name.to_lowercase()),
            ports: Some(port(database)),
            ..ServiceSpec::default()
        },
    )
}

fn without_selector(plan: &Plan, database: &PostgresPlan) -> Object {
    service(
        plan,
        ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            ports: Some(port(database)),
            ..ServiceSpec::default()
        },
    )
}

fn endpoints(plan: &Plan, address: &str, ipv4: bool, database: &PostgresPlan) -> Object {
    let mut metadata = meta::object(plan, POSTGRES, POSTGRES, meta::DATABASE, Lifetime::Platform);
    metadata
        .labels
        .get_or_insert_default()
        .insert("kubernetes.io/service-name".to_owned(), plan.identity.child(POSTGRES));
    let slice = EndpointSlice {
        metadata,
        address_type: if ipv4 { "IPv4" } else { "IPv6" }.to_owned(),
        endpoints: vec![Endpoint {
            addresses: vec![address.to_owned()],
            conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
            ..Endpoint::default()
        }],
        ports: Some(vec![EndpointPort {
            name: Some("postgres".to_owned()),
            port: Some(database.port),
            protocol: Some("TCP".to_owned()),
            ..EndpointPort::default()
        }]),
    };
    Object::new(Kind::EndpointSlice, POSTGRES, Lifetime::Platform, &slice)
}
