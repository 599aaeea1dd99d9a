#![no_std]
//! Compute kernels of wattle.
