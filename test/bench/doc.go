// Command bench runs the same workloads against Berth and against other
// registries, in turn, on this machine, and prints the ratios.
//
// Absolute numbers say more about the machine than about the registry; the
// ratio of two registries measured in alternating rounds does not. Each round
// uses a new repository, since some registries slow down as one fills up.
// Before each measurement the file system is synced, so that no registry pays
// for what another one left to be written. Beside the ratios stand limits of
// the machine that were measured in the same run: a number close to its limit
// cannot become better by better code.
//
// Every registry is a process of its own and is reached over HTTP alone. The
// load client runs on the same machine and takes its share of it, so it is
// made to be cheap: sockets without a HTTP library, contents that are neither
// made nor hashed anew, downloads that nobody looks at. Where it still takes
// most of the machine, the table says so.
//
// Berth runs as users run it, with authentication and durable writes. Peers run
// plaintext and open, which is to their advantage.
//
// The peers are the CNCF registry (-distribution) and any number of others
// (-peers), each as name=command, separated by ; or line ends. In a command
// {dir} is an empty directory for its data, {port} a free port on 127.0.0.1 and
// {addr} both as host:port; words are split at spaces, quotes keep them
// together. The process is ready when GET /v2/ answers.
//
//	olareg=olareg serve --dir {dir} --port {port}
//	again=env REGISTRY_HTTP_ADDR={addr} REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY={dir} registry serve config.yml
//	zot=./zot.sh {dir} {port}
//
// where config.yml is any configuration of the CNCF registry, and zot.sh writes
// the file that zot wants and becomes zot:
//
//	#!/bin/sh
//	cat >"$1/config.json" <<-END
//	{"distSpecVersion": "1.1.1", "storage": {"rootDirectory": "$1/data"},
//	 "http": {"address": "127.0.0.1", "port": "$2"}, "log": {"level": "error"}}
//	END
//	exec zot serve "$1/config.json"
//
// CPU time and memory are those of the process that was started: a command has
// to become its registry (exec), not to start it as a child. Both are read from
// /proc and missing where there is none.
package main
