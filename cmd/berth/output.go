package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"berth/internal/module"
)

// newOutputCommand is `berth output`: prints outputs, read from the repositories that exist.
func newOutputCommand(env *environment) *cobra.Command {
	var flags engineFlags
	var raw, asJSON bool
	cmd := &cobra.Command{
		Use:   "output [DIR | FILE.tfvars] [NAME]",
		Short: "Print the outputs of the module block, such as docker_login_command",
		Long: `Prints all outputs, or the one called NAME, in the format of terraform output. A single argument that
is neither a directory nor a file is a NAME.`,
		Example: `  berth output
  berth output --raw docker_login_command
  berth output examples/basic repository_urls --json`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, name := outputArgs(env, args)
			switch {
			case raw && asJSON:
				return errors.New("--raw and --json exclude each other: pass one of them")
			case raw && name == "":
				return errors.New("--raw prints a single output: name it, as in berth output --raw docker_login_command")
			}
			stack, client, err := flags.open(cmd.Context(), env, dir)
			if err != nil {
				return err
			}
			outputs, err := stack.Outputs(cmd.Context(), client)
			if err != nil {
				return err
			}
			return printOutputs(env, outputs, name, raw, asJSON)
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&raw, "raw", false, "print the output called NAME without quotes and without a line feed")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON, in the format of terraform output -json")
	return cmd
}

// outputArgs tells the directory from the name of an output.
func outputArgs(env *environment, args []string) (dir, name string) {
	switch len(args) {
	case 0:
		return ".", ""
	case 1:
		if _, err := os.Stat(pathIn(env, args[0])); err == nil {
			return args[0], ""
		}
		return ".", args[0]
	}
	return args[0], args[1]
}

func printOutputs(env *environment, outputs module.Outputs, name string, raw, asJSON bool) error {
	var text string
	var err error
	switch {
	case name == "" && asJSON:
		var b []byte
		b, err = json.MarshalIndent(outputs, "", "  ")
		text = string(b) + "\n"
	case name == "" && len(outputs.Names()) == 0:
		_, err := fmt.Fprintln(env.stderr, "Warning: the configuration has no outputs with a value")
		return err
	case name == "":
		return outputs.WriteText(env.stdout)
	case raw:
		text, err = outputs.Raw(name)
	case asJSON:
		var b []byte
		b, err = outputs.JSON(name)
		text = string(b) + "\n"
	default:
		text, err = outputs.Text(name)
		text += "\n"
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(env.stdout, text)
	return err
}
