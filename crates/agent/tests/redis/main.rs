//! The built program, as the kubelet runs it: against files, a scripted server and real Redis.

mod fake;
mod prepare;
mod probe;
mod real;
mod support;
