//! The built program, as the kubelet runs it: against files, a scripted server and real Redis.

#[path = "../support/authority.rs"]
mod authority;
mod certified;
mod client;
mod cluster;
mod fake;
mod fleet;
mod full;
mod live;
mod power;
mod prepare;
mod probe;
mod real;
mod rotate;
mod run;
mod sentinel;
#[path = "../support/small_volume.rs"]
mod small_volume;
mod support;
mod users;
