// Package blobtest is the suite that every blob store passes.
//
// It knows the contract of package blob and no store. [Run] opens stores through a [Backend] on storage that is fresh
// for each test, several of them on the same storage where a restart or a second server is the matter. Optional powers
// ([blob.Lister], [blob.Checker], [blob.Redirector]) are exercised where a store has them.
//
// Tests of sizes that take long are left out under -short.
package blobtest
