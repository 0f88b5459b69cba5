// Command app is what the tests of mutate edit. Line numbers are part of the
// tests.
package main

import (
	"fmt"
	"os"
)

type server struct{ open int }

type queue[T any] struct{ items []T }

func (q *queue[T]) add(item T) {
	q.items = append(q.items, item)
}

// serve falls off its end.
func (s *server) serve() {
	defer s.close() // runs last
	s.open++
	if s.open > 1 {
		return
	}
	fmt.Println("served", len(os.Args)) /* trailing */
}

func (s *server) close() { s.open--; fmt.Println("closed") }

func (s server) count() int {
	switch {
	case s.open > 0:
		s.note("some", 1)
	default:
		s.note("none", 0)
	}
	return s.open
}

func (s server) note(word string, n int) { fmt.Println(word, n) }

func loop() {
	for {
		fmt.Println("round")
	}
}

func twice() {
	fmt.Println("again")
	{
		fmt.Println("again") // the same
	}
}

func main() {
	s := &server{}
	s.serve()
	s.count()
	q := &queue[int]{}
	q.add(7)
	if len(os.Args) > 9 {
		twice()
		loop()
	}
	onThisSystem()
	panic(fmt.Sprint("end ", len(q.items))) // line 66
}
