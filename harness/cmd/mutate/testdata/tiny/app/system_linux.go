package main

func onThisSystem() { println("linux") }
