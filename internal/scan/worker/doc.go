// Package worker reads the packages of an image in a process of its own, because
// its layers are whatever somebody pushed.
//
// # Guarantees
//
//   - The child gets the bytes of the layers on its standard input and gives a
//     JSON document on its standard output. It gets no file, no key and no
//     address, and an environment with nothing in it but where its temporary
//     files go.
//   - Memory, processor time, the size of files and the time it may take are
//     limited ([Limits]). What a layer does to the child, the caller sees as a
//     [Failure] with a reason.
//   - On Linux the child has a network namespace of its own, without a network,
//     where the kernel lets users make one; it dies with its parent. Elsewhere,
//     and where user namespaces are forbidden, nothing but its code, which does
//     not know how to connect, keeps it from the network.
package worker
