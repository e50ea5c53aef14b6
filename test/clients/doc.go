// Package clients drives the registry with the clients that people use: docker,
// podman, buildah, skopeo, crane, oras, regctl, helm and AWS's own credential
// helper. What a client pulls is what was pushed, byte for byte; a wrong
// password gets nowhere; an immutable tag stays where it is, and every client
// shows why.
//
// A client that is not installed skips its tests, or fails them under
// BERTH_REQUIRE_ALL=1; "make tools" installs all of them.
package clients
