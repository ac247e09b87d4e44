//! `headgate diff`: what the cluster holds against what its sources declare.
