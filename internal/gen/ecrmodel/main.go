package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

const usage = `usage:
  ecrmodel reduce   -model service-2.json[.gz] -source TEXT [-overlay overlay.json] -out model.json
  ecrmodel generate -model model.json -out DIR`

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "ecrmodel:", err)
		os.Exit(1)
	}
}

// run is the whole program: it parses args, reads the named model and writes the named outputs.
func run(args []string, stderr io.Writer) error {
	if len(args) == 0 {
		return errors.New("no command given\n" + usage)
	}
	flags := flag.NewFlagSet("ecrmodel "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	modelPath := flags.String("model", "", "the model to read")
	overlay := flags.String("overlay", "", "operations and shapes to add (reduce)")
	source := flags.String("source", "", "where the model comes from, recorded in the output (reduce)")
	out := flags.String("out", "", "the file (reduce) or directory (generate) to write")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 || *modelPath == "" || *out == "" {
		return fmt.Errorf("%s needs -model and -out and takes no other argument\n%s", args[0], usage)
	}
	switch args[0] {
	case "reduce":
		return reduceFile(*modelPath, *overlay, *source, *out)
	case "generate":
		return generateDir(*modelPath, *out)
	}
	return fmt.Errorf("unknown command %q\n%s", args[0], usage)
}
