//! The doors to outside systems; each knows a wire format and imports none of ours.
pub mod datastore;
pub mod kamaji;
pub mod kube;
pub mod s3;
