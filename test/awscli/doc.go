// Package awscli holds stories told with the real aws command: what a user
// types, what comes back, and the exact words of every important refusal. Each
// file in testdata is one story on one theme.
//
// Beyond the commands of testscript, the stories use these:
//
//	aws ARGS...                  runs the AWS CLI, signing as the root user of a running registry
//	prints LINE...               the last command printed exactly these lines (tabs and runs of blanks count as one)
//	refused CODE OPERATION TEXT  the last command failed with exactly this error of the API; ${NAME} in TEXT is expanded,
//	                             and ${LF} is a line feed
//	capture NAME                 keeps what the last command printed in the variable NAME
//	save FILE                    writes what the last command printed to FILE, without the final line break that --output
//	                             text adds, and sets FILE to its digest
//	push NAME REPOSITORY[:TAG]   pushes a new image as docker would, and sets NAME to its digest
//	push-index NAME REPO[:TAG]   the same for an index of two images, whose digests are in NAME_1 and NAME_2
//	random FILE SIZE             makes a file of that many random bytes, and sets FILE to its digest
//	concat FILE PART...          joins files, and sets FILE to the digest of the whole
//
// The CLI is started once for all commands where it is version 1, see aws.py.
//
// A test checks that every operation that the registry offers occurs in a story.
package awscli
