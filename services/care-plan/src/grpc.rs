//! The RPC surface, one file per gRPC service.
pub mod care_plan;
pub mod case;
pub mod ingest;
pub mod note;
pub mod relation;
pub mod task;
